import numpy as np

from actionrec.io.scratch import scratch_array


def test_a_small_array_needs_no_file_and_a_large_one_leaves_none_behind(tmp_path):
    folder = tmp_path / "work"
    small = scratch_array((5, 4), folder, in_memory=80)
    assert not isinstance(small, np.memmap)
    assert not folder.exists()
    large = scratch_array((5, 5), folder, in_memory=80)
    assert isinstance(large, np.memmap)
    assert (large.shape, large.dtype) == ((5, 5), np.float32)
    large[:] = np.arange(25).reshape(5, 5)
    assert large.sum() == 300
    assert not list(folder.iterdir())
