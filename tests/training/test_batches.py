import threading

import numpy as np
import pytest
import torch

from actionrec.core.errors import DataError
from actionrec.training.batches import batches, fits_on_gpu, on_device


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


def simulate_memory(monkeypatch, *, free, reserved, allocated):
    """Bytes of an imaginary GPU that the driver has free, and that torch has reserved there and has allocated of them."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)


@pytest.mark.parametrize(
    ("free", "reserved", "allocated", "fits"),
    [
        (200, 0, 0, True),
        (199, 0, 0, False),
        (0, 300, 100, True),  # torch keeps the memory of an earlier copy, and uses it again
        (0, 300, 101, False),
        (100, 100, 0, True),
    ],
)
def test_features_may_take_half_of_what_the_driver_and_torch_have_free(monkeypatch, free, reserved, allocated, fits):
    simulate_memory(monkeypatch, free=free, reserved=reserved, allocated=allocated)
    assert fits_on_gpu(100, "cuda") is fits
    assert not fits_on_gpu(100, "cpu")


def test_features_that_do_not_fit_on_a_gpu_stay_where_they_are(features, monkeypatch):
    simulate_memory(monkeypatch, free=features.nbytes, reserved=0, allocated=0)
    assert on_device(features, "cuda") is features


@pytest.mark.gpu
def test_a_gpu_takes_all_features_once_or_batches_as_they_come(features):
    resident = on_device(features, "cuda")
    assert resident.device.type == "cuda"
    assert resident.dtype == torch.float16
    for source in (resident, features):
        for batch, rows in zip(batches(source, ROWS, "cuda"), ROWS, strict=True):
            assert batch.device.type == "cuda"
            np.testing.assert_array_equal(batch.cpu().numpy(), features[rows].astype(np.float32))
