"""Windows of a video, and segments of the same answer that cover it exactly once."""

from itertools import pairwise

import bundles
import numpy as np
import pytest
from film import write_video

from actionrec.core.errors import DataError
from actionrec.inference import timeline
from actionrec.inference.predictor import Prediction, load
from actionrec.inference.timeline import Moment, clock, segments, windows
from actionrec.video.clip_reader import timed_frames
from actionrec.video.decoder import open_video
from actionrec.video.frame_settings import Snippet
from actionrec.video.sampling import TimedFrame, evenly_spaced, snippet_frames


def numbered(count, rate=10.0, start=0):
    """A video whose frames hold their numbers."""
    for number in range(count):
        yield TimedFrame(number / rate, np.full((1, 1, 3), (start + number) % 256, np.uint8))


def numbers(window):
    return window.pictures[:, 0, 0, 0].tolist()


def test_windows_follow_each_other_by_the_stride_and_the_last_ends_with_the_video():
    found = list(windows(numbered(63), 4, 2.0, 1.0))
    assert [round(one.start, 6) for one in found] == [0, 1, 2, 3, 4, 4.3]
    assert [round(one.end, 6) for one in found] == [2, 3, 4, 5, 6, 6.3]
    for one in found:
        first = round(one.start * 10)
        assert numbers(one) == [first + place for place in evenly_spaced(20, 4)]


@pytest.mark.parametrize(
    ("count", "seconds", "stride"), [(40, 2.0, 2.0), (40, 1.0, 3.0), (37, 1.5, 0.4), (25, 2.5, 0.7), (5, 4, 2)]
)
def test_windows_begin_with_the_film_and_end_with_it(count, seconds, stride):
    found = list(windows(numbered(count), 3, seconds, stride))
    assert found[0].start == 0
    assert found[-1].end == pytest.approx(count / 10)
    assert numbers(found[0])[0] == 0
    assert numbers(found[-1])[-1] == count - 1
    assert all(one.start < later.start for one, later in pairwise(found))
    assert all(one.end < later.end - 1e-6 for one, later in pairwise(found))  # none twice


def test_a_frame_at_the_edge_of_two_windows_is_the_first_of_the_second_one():
    found = list(windows(numbered(200, rate=20.0), count=30, seconds=1.5, stride=0.7))  # sums of 0.7 are not exact
    for place, window in enumerate(found[:-1]):
        assert numbers(window) == list(range(14 * place, 14 * place + 30))


@pytest.mark.parametrize("rate", [None, 5.0])
def test_windows_hold_snippets(rate):
    snippet = Snippet(3, rate)
    for one in windows(numbered(63), 4, 2.0, 1.0, snippet):
        first = round(one.start * 10)
        assert one.pictures.shape == (4, 3, 1, 1, 3)
        assert (one.pictures[..., 0, 0, 0] == first + snippet_frames(20, 4, snippet, 10.0)).all()


def test_a_window_shorter_than_a_snippet_is_refused_but_not_a_short_video():
    with pytest.raises(DataError) as caught:
        list(windows(numbered(63), 4, 1.0, 1.0, Snippet(16, 7.5)))
    assert str(caught.value) == (
        "a window of 1 s is shorter than a snippet, 16 frames at 7.5 frames per second (2 s). Choose a longer --window."
    )
    (found,) = windows(numbered(5), 2, 4.0, 2.0, Snippet(16, 7.5))
    assert found.pictures[..., 0, 0, 0].tolist() == [[0, 1, 3, 4, *[4] * 12]] * 2


def test_a_video_no_longer_than_a_window_is_one_window_of_all_its_frames():
    (found,) = windows(numbered(12), 5, 30.0, 10.0)
    assert (found.start, found.end) == (0, pytest.approx(1.2))
    assert numbers(found) == evenly_spaced(12, 5)


def test_a_single_frame_is_a_window():
    (found,) = windows(numbered(1), 3, 1.0, 1.0)
    assert numbers(found) == [0, 0, 0]


def test_frames_that_come_at_uneven_times_are_taken_by_their_times():
    late = [TimedFrame(seconds, np.full((1, 1, 3), place, np.uint8)) for place, seconds in enumerate([0, 0.1, 0.2, 2.0, 2.1, 4.0])]
    found = list(windows(late, 2, 1.0, 1.0))
    assert [(one.start, numbers(one)) for one in found[:2]] == [(0, [0, 2]), (2, [3, 4])]
    assert (numbers(found[2]), found[2].end) == ([5, 5], pytest.approx(4.8))  # it is shown as long as frames are on average


@pytest.mark.parametrize("seconds", [0.01, 1.0, 4.0, 9.0, 10.0, 25.0])
@pytest.mark.parametrize("stride", [0.005, 0.5, 2.0, 7.0])
@pytest.mark.parametrize("rate", [0.1, 25.0])
def test_windows_without_a_frame_show_the_one_on_screen(seconds, stride, rate):
    """One picture every 10 s, or windows shorter than a frame."""
    found = list(windows(numbered(8, rate), 2, seconds, stride))
    assert found[0].start == 0
    assert found[-1].end == pytest.approx(8 / rate)
    for one in found:
        began = [place for place in range(8) if one.start - 0.51 / rate <= place / rate < one.end]
        on_screen = max(place for place in range(8) if place / rate < one.end + 1e-6)
        assert set(numbers(one)) <= {*began, on_screen}


def test_a_last_frame_after_a_long_gap_is_a_window():
    late = [TimedFrame(seconds, np.full((1, 1, 3), place, np.uint8)) for place, seconds in enumerate([0, 0.04, 0.08, 100.0])]
    found = list(windows(late, 2, 2.0, 1.0))
    assert (numbers(found[-1]), found[-1].start > 90) == ([3, 3], True)


@pytest.mark.parametrize("stride", [1e-18, 1e-3, 1e18])
def test_a_stride_of_any_length_comes_to_an_end(stride):
    found = list(windows(numbered(30), 2, 1.0, stride))
    assert len(found) <= 31
    assert found[-1].end == pytest.approx(3.0)


def test_a_window_with_too_many_frames_is_refused():
    with pytest.raises(DataError, match="more than 3000 frames"):
        list(windows(numbered(4000), 2, 1000.0, 1.0))
    for seconds, stride in ((0, 1), (1, 0), (-1, 1)):
        with pytest.raises(DataError, match="must be above 0"):
            list(windows(numbered(3), 2, seconds, stride))


def moment(start, end, *shares, threshold=0.0):
    return Moment(start, end, Prediction(("a", "b"), np.array(shares), threshold))


def test_segments_merge_neighbours_and_cover_the_film_once():
    found = [
        moment(0, 4, 0.9, 0.1),
        moment(2, 6, 0.7, 0.3),
        moment(4, 8, 0.2, 0.8),
        moment(6, 10, 0.55, 0.45, threshold=0.6),
        moment(8, 12, 0.6, 0.4, threshold=0.7),
    ]
    merged = segments(found)
    assert [(segment.start, segment.end, segment.headline, segment.windows, segment.none_of_these) for segment in merged] == [
        (0, 5, "a", 2, False),
        (5, 7, "b", 1, False),
        (7, 12, "not sure: a, 57 %", 2, True),
    ]
    assert [segment.confidence for segment in merged] == pytest.approx([0.8, 0.8, 0.575])
    assert segments([]) == []


def test_unsure_neighbours_are_one_segment_whatever_their_top_classes():
    found = [moment(start, start + 1, share, 1 - share, threshold=0.9) for start, share in enumerate((0.6, 0.3, 0.7))]
    (segment,) = segments(found)
    assert (segment.start, segment.end, segment.answer, segment.windows) == (0, 3, "a", 3)
    assert segment.headline == "not sure: a, 53 %"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(bundles.tiny_bundle(tmp_path_factory.mktemp("models") / "gru"))


def test_a_video_of_one_window_is_answered_as_the_clip_is(predictor, tmp_path):
    path = bundles.clips(tmp_path / "clips", 1)[0]
    (found,) = timeline.moments(predictor, video_frames(path, predictor), 60.0, 30.0)
    assert np.array_equal(found.prediction.probabilities, predictor.predict(path).probabilities)


def test_a_video_of_two_actions_has_two_segments(predictor, tmp_path):
    path = write_video(tmp_path / "two.avi", bundles.pictures(0, 7, 50) + bundles.pictures(2, 7, 50))
    found = list(timeline.moments(predictor, video_frames(path, predictor), 0.5, 0.25))
    merged = segments(found)
    assert (merged[0].answer, merged[0].end) == ("Bright", pytest.approx(2.0, abs=0.3))
    assert {segment.answer for segment in merged[1:]} <= {"Striped", "Dark"}  # never the first again
    assert [segment.start for segment in merged] == [0, *(segment.end for segment in merged[:-1])]
    assert merged[-1].end == pytest.approx(4.0, abs=0.05)


def video_frames(path, predictor):
    with open_video(path) as video:
        yield from timed_frames(video, predictor.sampling.resolution)


def test_clock_formats_times_for_people():
    assert [clock(seconds) for seconds in (0, 9.99, 61.25, 3600)] == ["0:00.0", "0:09.9", "1:01.2", "1:00:00.0"]
