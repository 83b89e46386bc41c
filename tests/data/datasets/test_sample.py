import hashlib
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from actionrec.core.errors import DataError
from actionrec.data.clip_search import find_clips
from actionrec.data.clips import cluster_ids
from actionrec.data.datasets import sample

CLASSES = sorted(name for names in sample.PAIRS.values() for name in names)
CLIPS_A_CLASS = sum(sample.CLIPS_IN_GROUP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "sample"
    sample.generate(folder, seed=0)
    return folder


@pytest.fixture
def small(monkeypatch):
    """Two groups with a clip each, so that generating takes a fraction of a second."""
    monkeypatch.setattr(sample, "CLIPS_IN_GROUP", (1, 1))


def decode(path):
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while (got := reader.read())[0]:
        frames.append(got[1])
    reader.release()
    return np.stack(frames)


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.avi"))}


def test_layout_and_names_are_ucfs(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {*sample.clip_ids(), "clips.csv"}
    assert "Grow/v_Grow_g05_c02.avi" in names
    assert len(names) == 1 + len(CLASSES) * CLIPS_A_CLASS
    assert sum(path.stat().st_size for path in folder.rglob("*.avi")) < 12e6


def test_each_clip_decodes_to_the_frames_in_its_header(folder):
    counts = set()
    for clip_id in sample.clip_ids()[::4]:
        reader = cv2.VideoCapture(str(folder / clip_id), cv2.CAP_FFMPEG)
        frames = decode(folder / clip_id)
        assert (len(frames), 25) == (reader.get(cv2.CAP_PROP_FRAME_COUNT), reader.get(cv2.CAP_PROP_FPS)), clip_id
        reader.release()
        assert frames.shape[1:] == (240, 320, 3)
        counts.add(len(frames))
    assert sample.SHORTEST <= min(counts) <= max(counts) <= sample.LONGEST
    assert len(counts) > 5  # lengths vary


@pytest.mark.parametrize("names", sample.PAIRS.values(), ids="/".join)
def test_twins_show_the_same_frames_in_opposite_order(folder, names):
    forwards, backwards = (decode(folder / sample.clip_id(name, 3, 1)).astype(int) for name in names)
    assert forwards.shape == backwards.shape
    assert np.abs(forwards - backwards[::-1]).mean() < 3  # of 255; compression alone
    first_against_last = np.abs(forwards[0] - forwards[-1]).mean()
    assert first_against_last > 3 * np.abs(forwards[0] - backwards[-1]).mean()  # there is a motion to see


def test_twins_are_one_source_and_other_clips_are_not(folder):
    clips = find_clips(folder)
    clusters = dict(zip([clip.id for clip in clips], cluster_ids(clips).tolist(), strict=True))
    assert len(set(clusters.values())) == len(sample.PAIRS) * len(sample.CLIPS_IN_GROUP)
    for names in sample.PAIRS.values():
        for group, count in enumerate(sample.CLIPS_IN_GROUP, start=1):
            ids = [sample.clip_id(name, group, clip) for name in names for clip in range(1, count + 1)]
            assert len({clusters[clip_id] for clip_id in ids}) == 1
    assert clips[0].group == "Grow-Shrink-01"


def test_each_source_has_a_background_of_its_own():
    scenes = [sample.make_scene(names[0], group, seed=0) for names in sample.PAIRS.values() for group in range(1, 11)]
    backgrounds = [scene.background[::8, ::8].astype(int) for scene in scenes]
    assert all(np.abs(one - other).mean() > 1 for one, other in combinations(backgrounds, 2))


def test_twins_share_their_source_s_background(folder):
    for names in sample.PAIRS.values():
        background = sample.make_scene(names[0], 4, seed=0).background.astype(int)
        for name in names:
            middle = np.median(decode(folder / sample.clip_id(name, 4, 1))[:, :, :4], axis=0)  # the left border, mostly bare
            assert np.abs(middle - background[:, :4]).mean() < 4, name


@pytest.mark.parametrize("names", sample.PAIRS.values(), ids="/".join)
def test_no_two_groups_of_a_pair_share_an_object(names):
    outlines = [sample.make_scene(names[0], group, seed=5).outline for group in range(1, 11)]
    assert len(set(outlines)) == 10


@pytest.mark.usefixtures("small")
def test_only_the_seed_decides_the_bytes(tmp_path):
    threads = cv2.getNumThreads()
    for seed, count in ((7, 1), (7, 4), (8, 1)):
        cv2.setNumThreads(count)
        sample.generate(tmp_path / f"{seed} {count}", seed)
    cv2.setNumThreads(threads)
    one, same, other = (hashes(tmp_path / name) for name in ("7 1", "7 4", "8 1"))
    assert one == same
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_a_video_that_cannot_be_written_is_an_error(tmp_path):
    frame = np.zeros((sample.HEIGHT, sample.WIDTH, 3), np.uint8)
    with pytest.raises(DataError, match="OpenCV cannot write MPEG-4 video"):
        sample.write_video(tmp_path / "missing" / "clip.avi", [frame])
    wrong_size = np.zeros((10, 10, 3), np.uint8)  # OpenCV's writer drops it without an error
    with pytest.raises(DataError, match="1 of 2 frames were written"):
        sample.write_video(tmp_path / "clip.avi", [frame, wrong_size])


def test_the_clips_in_git_are_those_that_the_code_draws(folder):
    """Their pictures are identical; another build of the encoder may write other files."""
    kept = Path(__file__).parents[3] / "data/raw/sample"
    assert {path.relative_to(kept).as_posix() for path in kept.rglob("*.avi")} == set(sample.clip_ids())
    for clip in sample.clip_ids()[::7]:
        np.testing.assert_array_equal(decode(kept / clip), decode(folder / clip))


def test_a_sample_is_drawn_again_only_if_a_clip_is_missing(small, tmp_path):
    sample.fetch(tmp_path / "sample")
    before = {path: path.stat().st_ino for path in (tmp_path / "sample").rglob("*")}
    sample.fetch(tmp_path / "sample")
    assert {path: path.stat().st_ino for path in (tmp_path / "sample").rglob("*")} == before
    missing = tmp_path / "sample" / sample.clip_ids()[3]
    missing.unlink()
    sample.fetch(tmp_path / "sample")
    assert missing.is_file()


def test_other_clips_where_the_sample_belongs_are_not_deleted(small, tmp_path):
    own = tmp_path / "sample" / "Jump" / "anna.mp4"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"clip")
    with pytest.raises(DataError) as caught:
        sample.fetch(tmp_path / "sample")
    assert str(caught.value) == (
        f"{tmp_path}/sample contains files that do not belong to the sample: Jump/anna.mp4. Move them. Use another folder below "
        f"{tmp_path} for your own clips, and set data.dataset to its name."
    )
    assert own.read_bytes() == b"clip"


def test_a_symlink_in_place_of_the_sample_is_rejected(small, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "sample").symlink_to(tmp_path / "clips")
    with pytest.raises(DataError, match=f"{tmp_path}/sample is a symlink to {tmp_path}/clips; expected the sample's own folder"):
        sample.fetch(tmp_path / "sample")
    assert list((tmp_path / "clips").iterdir()) == []
