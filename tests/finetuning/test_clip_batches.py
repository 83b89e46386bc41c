"""Batches of clips: the pictures that the backbone would get of all frames, at some of the sample points."""

import threading
import time

import numpy as np
import pytest
from frame_shards import SNIPPETS, clip_of, write_shards
from small_tuning import settings

from actionrec.core.errors import DataError
from actionrec.features.streams import pictures_of
from actionrec.finetuning import pixel_augmentation
from actionrec.finetuning.clip_batches import ClipReader, batches
from actionrec.video.frame_index import FrameIndex
from actionrec.video.frame_store import read_frames

SIZE = 32
STREAMS = [("rgb",), ("diff",), ("rgb", "diff"), ("diff", "rgb")]
AUGMENTED = settings(segments=1, crop=0.5, flip=True, colour=0.3)


@pytest.fixture(scope="module", params=["frames", "one frame", "snippets"])
def store(request, tmp_path_factory):
    snippets = SNIPPETS if request.param == "snippets" else None
    clips = {f"a/{number}.avi": clip_of(number, 1 if request.param == "one frame" else 5, snippets) for number in range(4)}
    return write_shards(tmp_path_factory.mktemp("store"), clips)


def expected(frames, streams, steps):
    """What the extractor of features makes of all frames of a clip, at these steps: (S, M, L, H, W, 3)."""
    shown = np.stack([pictures_of(frames, stream)[np.asarray(steps)] for stream in streams], axis=1)
    return shown if frames.ndim == 5 else shown[:, :, None]


@pytest.mark.parametrize("streams", STREAMS, ids="+".join)
def test_pictures_are_those_of_all_frames_at_these_steps(store, streams):
    index = FrameIndex(store)
    reader = ClipReader(index, streams)
    for row, clip in enumerate(index.clips):
        frames, steps = read_frames(store, [clip])[clip], index.steps(row)
        for wanted in (range(steps), [steps - 1], [steps - 1, 0, steps // 2, 0]):
            read = reader.read(row, np.array(wanted))
            assert read.shape == (len(wanted), len(streams), frames.shape[1] if frames.ndim == 5 else 1, SIZE, SIZE, 3)
            assert read.dtype == np.uint8
            np.testing.assert_array_equal(read, expected(frames, streams, wanted))


@pytest.mark.parametrize("streams", STREAMS, ids="+".join)
def test_frames_are_augmented_alike_before_their_difference_is_taken(store, streams):
    index = FrameIndex(store)
    for row, clip in enumerate(index.clips):
        frames, steps = read_frames(store, [clip])[clip], np.arange(index.steps(row))
        drawn = pixel_augmentation.draw(clip, 0, 1, AUGMENTED, len(steps), (SIZE, SIZE))
        read = ClipReader(index, streams).read(row, steps, drawn)
        np.testing.assert_array_equal(read, expected(pixel_augmentation.augment(frames, drawn), streams, steps))


def picture_of(row):
    return np.full((2, 1, 1, 4, 4, 3), row, dtype=np.uint8)


GROUPS = [np.arange(start, min(start + 3, 20)) for start in range(0, 20, 3)]


@pytest.mark.parametrize("workers", ["1", "5"])
def test_batches_come_in_their_order_whatever_clip_is_ready_first(monkeypatch, workers):
    monkeypatch.setenv("ACTIONREC_WORKERS", workers)

    def read(row):
        time.sleep(0.01 if row % 4 == 0 else 0)
        return picture_of(row)

    found = list(batches(GROUPS, read))
    assert [batch.shape for batch in found] == [(len(group), 2, 1, 1, 4, 4, 3) for group in GROUPS]
    assert [batch[:, 0, 0, 0, 0, 0, 0].tolist() for batch in found] == [group.tolist() for group in GROUPS]


def test_no_groups_give_no_batches():
    assert list(batches([], picture_of)) == []


def test_an_error_in_a_clip_reaches_the_caller_after_the_batches_before_it():
    def read(row):
        if row == 7:
            raise DataError("frames of clip 7 cannot be read")
        return picture_of(row)

    found = batches(GROUPS, read)
    assert [len(next(found)) for _ in range(2)] == [3, 3]
    with pytest.raises(DataError, match="clip 7"):
        next(found)


def test_a_caller_that_stops_leaves_no_thread_and_reads_little_ahead(monkeypatch):
    monkeypatch.setenv("ACTIONREC_WORKERS", "2")
    before, rows = threading.active_count(), []

    def read(row):
        rows.append(row)
        return picture_of(row)

    found = batches(GROUPS, read)
    next(found)
    found.close()
    assert threading.active_count() == before
    assert max(rows) < 9  # two groups ahead
