import zipfile

import fabricate
import numpy as np
import pytest

from actionrec.core.errors import DataError
from actionrec.evaluation.logits import TopLogits
from actionrec.evaluation.prediction_files import read_predictions, write_predictions

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
    assert [logits.shape for logits in read.test.seed_logits] == [(4, 3)] * 2


def test_it_has_the_arrays_that_others_read(tmp_path):
    write_predictions(tmp_path / "a.npz", made())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert {"clip", "label", "subset", "logits"} <= set(stored.files)
        assert (stored["logits"].dtype, stored["label"].dtype) == (np.float32, np.int64)


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


# Many classes, of which the highest logits are kept.

MANY = 250
LABELS = np.arange(6) * 40


def many(seeds=(0, 4)):
    logits = np.random.default_rng(1).normal(size=(6, MANY)).astype(np.float32)
    return fabricate.predictions(CLIPS, LABELS, ["val"] * 2 + ["test"] * 4, logits, seeds=seeds)


def test_a_file_of_many_classes_gives_back_the_highest_logits(tmp_path):
    write_predictions(tmp_path / "a.npz", many())
    read, written = read_predictions(tmp_path / "a.npz", MANY, "").answers, many().answers
    tables = [(read.logits, written.logits), *zip(read.seed_logits, written.seed_logits, strict=True)]
    tables += [(read.changed[name], written.changed[name]) for name in written.changed]
    assert len(tables) == 6
    for mine, own in tables:
        assert isinstance(mine, TopLogits)
        assert mine.class_count == own.class_count == MANY
        for column in ("classes", "values", "rest"):
            assert np.array_equal(getattr(mine, column), getattr(own, column))
    assert (tmp_path / "a.npz").stat().st_size < 6 * 6 * 20 * 8 + 10_000


SHOWN = ["logits", "seed_logits", "logits_reversed"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes_of_logits": None}, "lacks classes_of_logits."),
        ({"class_count": np.array([251])}, "shapes do not fit n clips and 250 classes: "),
        ({"rest_of_logits": np.zeros((6, 3), np.float32)}, "shapes do not fit n clips and 250 classes: "),
        ({"classes_of_logits": np.zeros((6, 20))}, "unexpected types of numbers or text in classes_of_logits."),
        ({"rest_of_seed_logits": lambda old: np.nan * old}, "rest_of_seed_logits of 6 clips are NaN or infinite"),
        *(({f"classes_of_{name}": lambda old: np.where(old == 249, 250, old + 1)}, f"classes_of_{name} are not") for name in SHOWN),
        *(({f"classes_of_{name}": lambda old: np.zeros_like(old)}, f"classes_of_{name} are not the likeliest") for name in SHOWN),
        *(({name: lambda old: old[..., ::-1]}, f"classes_of_{name} are not the likeliest") for name in SHOWN),
        ({"classes_of_logits": lambda old: old - 1000}, "classes_of_logits are not the likeliest of 250 classes"),
        ({"label": np.arange(6)}, "classes_of_logits are not the likeliest of 250 classes and each clip's own."),
    ],
)
def test_invalid_highest_logits_are_refused(tmp_path, changes, message):
    write_predictions(tmp_path / "a.npz", many())
    with np.load(tmp_path / "a.npz") as whole:
        arrays = {name: whole[name] for name in whole.files}
    for name, change in changes.items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays[name]) if callable(change) else change
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError) as error:
        read_predictions(tmp_path / "a.npz", MANY, "Do it again.")
    assert message in str(error.value)
