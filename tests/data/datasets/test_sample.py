import hashlib
import shutil
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from actionrec.core.errors import DataError
from actionrec.data.clips import cluster_ids, find_clips
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


def clip_path(folder, name, group, clip=1):
    return folder / name / f"v_{name}_g{group:02d}_c{clip:02d}.avi"


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*.avi"))}


def test_layout_and_names_are_ucfs(folder):
    expected = {
        clip_path(folder, name, group, clip)
        for name in CLASSES
        for group, count in enumerate(sample.CLIPS_IN_GROUP, start=1)
        for clip in range(1, count + 1)
    }
    assert {path for path in folder.rglob("*") if path.is_file()} == {*expected, folder / "clips.csv"}
    assert len(expected) == len(CLASSES) * CLIPS_A_CLASS


def test_the_whole_set_is_small(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*.avi")) < 12e6


def test_each_clip_decodes_to_the_frames_in_its_header(folder):
    counts = set()
    for path in folder.rglob("*.avi"):
        reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        said = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        size = (reader.get(cv2.CAP_PROP_FRAME_WIDTH), reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
        got = 0
        while reader.grab():
            got += 1
        assert (got, size, reader.get(cv2.CAP_PROP_FPS)) == (said, (320, 240), 25), path
        reader.release()
        counts.add(got)
    assert min(counts) >= sample.SHORTEST
    assert max(counts) <= sample.LONGEST
    assert len(counts) > 5  # lengths vary


@pytest.mark.parametrize("names", sample.PAIRS.values(), ids="/".join)
def test_twins_show_the_same_frames_in_opposite_order(folder, names):
    forwards, backwards = (decode(clip_path(folder, name, group=3)).astype(int) for name in names)
    assert forwards.shape == backwards.shape
    assert np.abs(forwards - backwards[::-1]).mean() < 3  # of 255; compression alone
    first_against_last = np.abs(forwards[0] - forwards[-1]).mean()
    assert first_against_last > 3 * np.abs(forwards[0] - backwards[-1]).mean()  # there is a motion to see


def test_twins_are_one_source_and_other_clips_are_not(folder):
    clips = find_clips(folder)
    assert len(clips) == len(CLASSES) * CLIPS_A_CLASS
    clusters = dict(zip([clip.id for clip in clips], cluster_ids(clips).tolist(), strict=True))
    assert len(set(clusters.values())) == len(sample.PAIRS) * len(sample.CLIPS_IN_GROUP)
    for names in sample.PAIRS.values():
        for group, count in enumerate(sample.CLIPS_IN_GROUP, start=1):
            ids = [f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi" for name in names for clip in range(1, count + 1)]
            assert len({clusters[clip_id] for clip_id in ids}) == 1
    assert clips[0].group == "Grow-Shrink-01"


def test_each_source_has_a_background_of_its_own():
    scenes = [sample.make_scene(names[0], group, seed=0) for names in sample.PAIRS.values() for group in range(1, 11)]
    backgrounds = [scene.background.astype(int) for scene in scenes]
    assert all(np.abs(one - other).mean() > 1 for one, other in combinations(backgrounds, 2))


def test_twins_share_their_source_s_background(folder):
    for names in sample.PAIRS.values():
        background = sample.make_scene(names[0], 4, seed=0).background.astype(int)
        for name in names:
            middle = np.median(decode(clip_path(folder, name, group=4))[:, :, :4], axis=0)  # the left border, mostly bare
            assert np.abs(middle - background[:, :4]).mean() < 4, name


@pytest.mark.parametrize("names", sample.PAIRS.values(), ids="/".join)
def test_no_two_groups_of_a_pair_share_an_object(names):
    outlines = [sample.make_scene(names[0], group, seed=5).outline for group in range(1, 11)]
    assert len(set(outlines)) == 10


def test_clips_of_a_group_differ(folder):
    one, two = (decode(clip_path(folder, "Grow", 1, clip)) for clip in (1, 2))
    assert one.shape != two.shape or not np.array_equal(one, two)


@pytest.mark.usefixtures("small")
def test_a_seed_gives_the_same_bytes_whatever_the_threads(tmp_path):
    threads = cv2.getNumThreads()
    for index, count in enumerate((1, 4)):
        cv2.setNumThreads(count)
        sample.generate(tmp_path / str(index), seed=7)
    cv2.setNumThreads(threads)
    assert hashes(tmp_path / "0") == hashes(tmp_path / "1")


@pytest.mark.usefixtures("small")
def test_another_seed_gives_other_bytes(tmp_path):
    sample.generate(tmp_path / "one", seed=1)
    sample.generate(tmp_path / "two", seed=2)
    one, two = hashes(tmp_path / "one"), hashes(tmp_path / "two")
    assert one.keys() == two.keys()
    assert not set(one.values()) & set(two.values())


@pytest.mark.usefixtures("small")
def test_a_new_set_replaces_the_old_one(tmp_path):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "old.avi").touch()
    sample.generate(tmp_path / "sample", seed=0)
    assert sorted(path.name for path in (tmp_path / "sample").iterdir()) == [*CLASSES, "clips.csv"]


@pytest.mark.usefixtures("small")
def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    write, written = sample.write_video, []

    def fail_at_third(path, frames):
        if len(written) == 2:
            raise OSError("no space left on device")
        written.append(path)
        write(path, frames)

    monkeypatch.setattr(sample, "write_video", fail_at_third)
    with pytest.raises(OSError, match="no space left"):
        sample.generate(tmp_path / "sample", seed=0)
    assert written
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path):
    frame = np.zeros((sample.HEIGHT, sample.WIDTH, 3), np.uint8)
    with pytest.raises(DataError, match="OpenCV cannot write MPEG-4 video"):
        sample.write_video(tmp_path / "missing" / "clip.avi", [frame])


def test_a_file_that_lost_frames_is_an_error(tmp_path):
    frame = np.zeros((sample.HEIGHT, sample.WIDTH, 3), np.uint8)
    wrong_size = np.zeros((10, 10, 3), np.uint8)  # which OpenCV's writer drops without a word
    with pytest.raises(DataError, match="1 of 2 frames were written"):
        sample.write_video(tmp_path / "clip.avi", [frame, wrong_size])


def test_the_clips_in_git_are_those_that_the_code_draws(folder):
    """To the last bit of each picture; the files may differ where another build of the encoder wrote them."""
    kept = Path(__file__).parents[3] / "data/raw/sample"
    assert {path.relative_to(kept).as_posix() for path in kept.rglob("*.avi")} == set(sample.clip_ids())
    for clip in sample.clip_ids()[::7]:
        np.testing.assert_array_equal(decode(kept / clip), decode(folder / clip))


def test_a_sample_that_is_there_is_kept(folder, tmp_path):
    kept = tmp_path / "sample"
    shutil.copytree(folder, kept)
    before = {path: path.stat().st_ino for path in kept.rglob("*")}
    sample.fetch(kept)
    assert {path: path.stat().st_ino for path in kept.rglob("*")} == before


def test_a_sample_that_lacks_a_clip_is_drawn_again(small, tmp_path):
    sample.fetch(tmp_path / "sample")
    lost = tmp_path / "sample" / sample.clip_ids()[3]
    lost.unlink()
    sample.fetch(tmp_path / "sample")
    assert lost.is_file()


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
