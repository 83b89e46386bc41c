import threading

import numpy as np
import pytest
import torch

from actionrec.core.errors import DataError
from actionrec.training.batches import batches, on_device

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(10, 3, 4)).astype(np.float16)


ROWS = [np.array([3, 1]), np.array([0]), np.array([9, 9, 2])]


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy])
def test_batches_are_the_rows_in_their_order_as_float32(features, form):
    made = list(batches(form(features), ROWS, "cpu"))
    assert [batch.dtype for batch in made] == 3 * [torch.float32]
    for batch, rows in zip(made, ROWS, strict=True):
        np.testing.assert_array_equal(batch.numpy(), features[rows].astype(np.float32))


def test_no_rows_are_no_batches(features):
    assert list(batches(features, [], "cpu")) == []


class Watched:
    """Features that note what is read, and by whom."""

    def __init__(self, features):
        self.features, self.shape, self.read, self.readers = features, features.shape, [], set()
        self.more = threading.Event()

    def __getitem__(self, rows):
        self.readers.add(threading.current_thread())
        self.read.append(rows.tolist())
        if len(self.read) > 1:
            self.more.set()
        return self.features[rows]


def test_the_next_batch_is_read_while_one_is_in_use_and_no_more(features):
    watched = Watched(features)
    made = batches(watched, ROWS, "cpu")
    next(made)
    assert watched.more.wait(timeout=10)
    assert watched.read == [rows.tolist() for rows in ROWS[:2]]
    assert threading.current_thread() not in watched.readers


def test_what_goes_wrong_while_reading_ahead_is_raised(features):
    class Broken(Watched):
        def __getitem__(self, rows):
            raise DataError("gone")

    with pytest.raises(DataError, match="gone"):
        list(batches(Broken(features), ROWS, "cpu"))


def test_a_processor_keeps_features_where_they_are(features):
    assert on_device(features, "cpu") is features


@needs_gpu
def test_a_gpu_takes_all_features_once_or_batches_as_they_come(features, monkeypatch):
    resident = on_device(features, "cuda")
    assert resident.device.type == "cuda"
    assert resident.dtype == torch.float16
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (features.nbytes, 0))  # half of it is too little
    assert on_device(features, "cuda") is features
    for source in (resident, features):
        for batch, rows in zip(batches(source, ROWS, "cuda"), ROWS, strict=True):
            np.testing.assert_array_equal(batch.cpu().numpy(), features[rows].astype(np.float32))
