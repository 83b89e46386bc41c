import zipfile
from dataclasses import replace

import fabricate
import numpy as np
import pytest

from actionrec.core.errors import DataError
from actionrec.evaluation.predictions import pooled, read_predictions, write_predictions

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


def test_correct_answers_are_those_of_each_seed():
    predictions = made()
    test = predictions.test
    assert np.array_equal(predictions.correct(), test.seed_logits.argmax(axis=2) == test.labels)
    assert predictions.correct().shape == (2, 4)


def test_folds_are_pooled_by_clip_and_the_saved_fold_keeps_its_own():
    saved, other = made(), made()
    rolled = replace(other.answers, logits=np.roll(LOGITS, 1, axis=1))
    subsets = np.array(["test", "train", "test", "val", "val", "val"])
    other = replace(other, answers=rolled, subsets=subsets, folds=np.full(6, 2), saved_fold=2)
    both = pooled(saved, [other])
    assert pooled(saved, []) is saved
    assert list(zip(both.answers.clips, both.subsets, both.folds.tolist(), strict=True)) == [
        (CLIPS[0], "val", 0),
        (CLIPS[0], "test", 2),
        (CLIPS[1], "val", 0),
        (CLIPS[2], "test", 0),
        (CLIPS[2], "test", 2),
        *((clip, "test", 0) for clip in CLIPS[3:]),
    ]
    assert np.array_equal(both.test.logits[both.test_folds == 2], np.roll(LOGITS, 1, axis=1)[[0, 2]])
    assert np.array_equal(both.val.logits, LOGITS[:2])
    for mine, own in ((both.saved_test, saved.test), (both.val, saved.val)):
        assert np.array_equal(mine.seed_logits, own.seed_logits)
        assert all(np.array_equal(mine.changed[change], own.changed[change]) for change in own.changed)


def test_a_file_gives_back_the_folds(tmp_path):
    several = fabricate.predictions(CLIPS, np.arange(6) % 3, ["val"] * 2 + ["test"] * 4, LOGITS, folds=2)
    assert set(several.test_folds) == {0, 1}
    write_predictions(tmp_path / "a.npz", several)
    read = read_predictions(tmp_path / "a.npz", 3, "")
    assert np.array_equal(read.folds, several.folds)
    assert read.saved_fold == 0
    assert list(read.saved_test.clips) == list(several.test.clips[several.test_folds == 0])


def test_another_number_of_classes_is_refused(tmp_path):
    write_predictions(tmp_path / "a.npz", made())
    with pytest.raises(DataError, match=r"shapes do not fit n clips and 4 classes: clip \(6,\).* Do it again\."):
        read_predictions(tmp_path / "a.npz", 4, "Do it again.")


def stored(path, **arrays):
    """Write a whole file, with some arrays replaced by others or by raw bytes."""
    write_predictions(path, made())
    with np.load(path) as whole:
        known = {**{key: whole[key] for key in whole.files}, **arrays}
    np.savez(path, **{key: array for key, array in known.items() if not isinstance(array, bytes)})
    with zipfile.ZipFile(path, "a") as archive:
        for key, contents in known.items():
            if isinstance(contents, bytes):
                archive.writestr(f"{key}.npy", contents)


def npy(shape, kind="<f4"):
    """A header of the npy format that claims this shape, and nothing after it."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


NOT_CHARACTERS = np.array(CLIPS)
NOT_CHARACTERS.view(np.uint32)[:] = 2**31 - 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"logits": npy((10**6, 10**6))}, "not a readable npz file (the size of logits.npy differs from its header)"),
        ({"logits": npy((-1, 3))}, "not a readable npz file (the size of logits.npy differs from its header)"),
        ({"logits": npy("(" * 50)}, "not a readable npz file ("),
        ({"logits": b""}, "not a readable npz file (EOF: reading magic string, expected 8 bytes got 0)"),
        ({"logits": np.zeros((6, 3), complex)}, "unexpected types of numbers or text in logits."),
        ({"logits_reversed": np.full((6, 3), "x")}, "unexpected types of numbers or text in logits_reversed."),
        ({"label": np.zeros(6)}, "unexpected types of numbers or text in label."),
        ({"unit": np.zeros(6, "M8[s]")}, "unexpected types of numbers or text in unit."),
        ({"clip": np.array("a")}, "unexpected types of numbers or text in clip."),
        ({"clip": NOT_CHARACTERS}, "not a readable npz file (text with invalid characters)"),
        ({"label": np.array([0, 1, 2, 0, 1, 2**64 - 1], np.uint64)}, "labels from 0 to 18446744073709551615; expected 0 to 2."),
        ({"logits_\x1b[31m": np.zeros((9, 9), np.float32)}, "shapes do not fit n clips and 3 classes: clip (6,)"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_arrays_of_another_kind_or_of_absurd_sizes_are_refused_in_one_line(tmp_path, arrays, message):
    stored(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError) as error:
        read_predictions(tmp_path / "a.npz", 3, "Do it again.")
    assert str(error.value).startswith(f"{tmp_path}/a.npz: {message}")
    assert str(error.value).endswith("Do it again.")
    assert str(error.value).isprintable()


def test_compressed_arrays_are_refused_since_they_may_unpack_to_anything(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", clip=np.zeros(10**7))
    with pytest.raises(DataError, match=r"not a readable npz file \(clip\.npy is compressed\)\. Do it again\."):
        read_predictions(tmp_path / "a.npz", 3, "Do it again.")


@pytest.mark.parametrize("contents", [b"", b"\x80\x04.", npy((1,)) + bytes(4), b"PK\x03\x04"])
def test_a_file_that_is_not_a_zip_of_arrays_is_refused(tmp_path, contents):
    (tmp_path / "a.npz").write_bytes(contents)
    with pytest.raises(DataError, match=r"not a readable npz file \(File is not a zip file\)\. Do it again\."):
        read_predictions(tmp_path / "a.npz", 3, "Do it again.")
