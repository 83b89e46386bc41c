import fabricate
import numpy as np
import pytest

from actionrec.errors import DataError
from actionrec.predictions import read_predictions, write_predictions

LOGITS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
CLIPS = [f"a/{number}.avi" for number in range(6)]


def made(**changes):
    return fabricate.predictions(CLIPS, np.arange(6) % 3, ["val"] * 2 + ["test"] * 4, LOGITS, seeds=(0, 4), **changes)


def test_a_file_gives_back_what_was_written_and_the_same_bytes(tmp_path):
    write_predictions(tmp_path / "a.npz", made())
    write_predictions(tmp_path / "b.npz", made())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = read_predictions(tmp_path / "a.npz", 3, "")
    assert read.seeds == (0, 4)
    assert list(read.test.clips) == CLIPS[2:]
    assert np.array_equal(read.answers.logits, LOGITS)
    assert set(read.test.changed) == {"shuffled", "reversed", "one_frame"}
    assert read.test.seed_logits.shape == (2, 4, 3)


def test_it_has_the_arrays_that_others_read(tmp_path):
    write_predictions(tmp_path / "a.npz", made())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert {"clip", "label", "subset", "logits"} <= set(stored.files)
        assert (stored["logits"].dtype, stored["label"].dtype) == (np.float32, np.int64)


def test_rightness_is_the_share_of_seeds():
    predictions = made()
    test = predictions.test
    wanted = (test.seed_logits.argmax(axis=2) == test.labels).mean(axis=0)
    assert np.array_equal(predictions.right(), wanted)
    assert len(predictions.right()) == 4


def test_another_number_of_classes_is_refused(tmp_path):
    write_predictions(tmp_path / "a.npz", made())
    with pytest.raises(DataError, match=r"shapes do not fit n clips and 4 classes: clip \(6,\).* Do it again\."):
        read_predictions(tmp_path / "a.npz", 4, "Do it again.")
