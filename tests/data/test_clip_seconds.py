import pytest

from actionrec.core.errors import DataError
from actionrec.data.clip_seconds import median_seconds, read_clip_seconds, write_clip_seconds


def test_the_file_gives_back_what_was_written_sorted_by_clip(tmp_path):
    file = tmp_path / "data/clip_seconds.csv"
    write_clip_seconds(file, {"b/2.avi": 60 / 7, "a/1, of 2.avi": 0.04})
    assert list(read_clip_seconds(file).items()) == [("a/1, of 2.avi", 0.04), ("b/2.avi", 8.571)]
    write_clip_seconds(file, {})
    assert read_clip_seconds(file) == {}


@pytest.mark.parametrize("seconds", ["", "long", "-1", "nan", "inf"])
def test_a_damaged_length_is_shown(tmp_path, seconds):
    (tmp_path / "seconds.csv").write_text(f"clip,seconds\na.avi,{seconds}\n")
    with pytest.raises(DataError, match=rf"seconds.csv: seconds of 'a.avi' must be a number from 0; got '{seconds}'. Run `dvc"):
        read_clip_seconds(tmp_path / "seconds.csv")


def test_the_median_is_that_of_the_named_clips_with_a_known_length():
    seconds = {"a": 1.0, "b": 2.0, "c": 4.0, "test": 100.0}
    assert median_seconds(seconds, ["a", "b", "c", "unknown"]) == 2.0
    assert median_seconds(seconds, ["c", "a"]) == 2.5
    assert median_seconds(seconds, ["unknown"]) is None
