import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from actionrec.core.errors import REPAIR, DataError
from actionrec.io.tensors import load_tensors, save_tensors

ROOT = Path(__file__).parents[2]

NAMES = [
    "a",
    "v_Punch_g01_c01.avi",
    'Klasse/mit "Anführung", # und ,.avi',
    "动作/视频.mp4",
    "back\\slash",
    "line\nbreak",
    "x" * 200,
    "",
]
METADATA = {"zeta": "1", "alpha": 'tricky " \\ \n', "größe": "ü 动", "mid": "{}", "beta": ""}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "some.safetensors"


@pytest.fixture
def tensors():
    random = np.random.default_rng(0)
    return {name: random.normal(size=(place + 1, 3)).astype(np.float16) for place, name in enumerate(NAMES)}


def test_names_values_and_metadata_come_back_also_in_other_readers(path, tensors):
    save_tensors(path, tensors, METADATA)
    loaded, metadata = load_tensors(path)
    assert metadata == METADATA
    for read in (loaded, safetensors.numpy.load_file(path)):
        assert read.keys() == tensors.keys()
        assert all(np.array_equal(read[name], tensors[name]) for name in tensors)
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
    before = path.read_bytes()
    save_tensors(path, dict(reversed(tensors.items())), dict(reversed(METADATA.items())))
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3, 4)])
def test_types_and_shapes_come_back(path, kind, shape):
    save_tensors(path, {"x": np.ones(shape, kind)}, {})
    tensor = load_tensors(path)[0]["x"]
    assert (tensor.dtype, tensor.shape) == (kind, shape)


def test_arrays_that_lie_scattered_in_memory_come_back(path):
    array = np.arange(24.0).reshape(2, 3, 4)
    save_tensors(path, {"turned": array.transpose(2, 0, 1), "thinned": array[:, ::2]}, {})
    loaded, _ = load_tensors(path)
    np.testing.assert_array_equal(loaded["turned"], array.transpose(2, 0, 1))
    np.testing.assert_array_equal(loaded["thinned"], array[:, ::2])


def test_a_file_without_tensors_comes_back(path):
    save_tensors(path, {}, {"a": "b"})
    assert load_tensors(path) == ({}, {"a": "b"})


def test_every_process_writes_the_same_bytes(tmp_path):
    code = (
        "import sys, pathlib, numpy; from actionrec.io.tensors import save_tensors;"
        "save_tensors(pathlib.Path(sys.argv[1]), {f't{i}': numpy.full(3, i) for i in range(20)}, {f'k{i}': 'v' for i in range(20)})"
    )
    files = [tmp_path / name for name in ("first", "second")]
    for file in files:
        subprocess.run([sys.executable, "-c", code, str(file)], check=True, cwd=ROOT)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_missing_file_says_what_makes_it(path):
    with pytest.raises(DataError) as caught:
        load_tensors(path)
    assert str(caught.value) == f"{path} is missing. Run `dvc repro` to make it."


@pytest.mark.parametrize("kept", [0, 4, 8, 40, -1])
def test_a_file_that_is_cut_short_is_damaged(path, tensors, kept):
    save_tensors(path, tensors, METADATA)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="is damaged") as caught:
        load_tensors(path)
    assert str(caught.value).startswith(f"{path} is damaged (")
    assert str(caught.value).endswith(REPAIR)


def test_a_failed_write_leaves_the_old_file_and_no_draft(path):
    save_tensors(path, {"x": np.ones(2)}, {})
    before = path.read_bytes()
    with pytest.raises(Exception, match="surrogates not allowed"):
        save_tensors(path, {"\udcff": np.ones(2)}, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
