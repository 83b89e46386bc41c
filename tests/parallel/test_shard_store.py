"""The store under real stages: full and read-only disks, damaged shards, clips that come, change and go."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from film import write_video
from projects import PARAMS, TWELVE_CLIPS, bytes_of, split_twelve_clips
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.video import clip_reader
from stages import extract_frames, resnet_features, split

ROOT = Path(__file__).parents[2]
OUTPUTS = {"extract_frames": paths.FRAMES, "resnet_features": paths.FEATURES}
STAGES = {"extract_frames": extract_frames, "resnet_features": resnet_features}


def set_size(size):
    YAML().dump({**PARAMS, "frames": {**TWELVE_CLIPS["frames"], "resolution": size}}, paths.PARAMS)


@pytest.fixture
def clips(project, monkeypatch):
    """The folder of 12 clips, split, in 3 shards of at least 50 KB of frames and 12 KB of features."""
    return split_twelve_clips(monkeypatch)


def run_and_fail(stage, reason, limit=None, workers="1"):
    """Run a stage as DVC does, perhaps with a limit on the size of files in bytes.

    It must fail with a message of one line, and leave no drafts.
    """
    restrict = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACTIONREC_WORKERS": workers},
        preexec_fn=restrict,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {reason}")
    assert done.stderr.endswith("Fix this and rerun; finished work is kept.\n")
    assert not OUTPUTS[stage].exists()
    assert [str(path) for folder in ("data", "metrics", ".work") for path in Path(folder).rglob("*.draft")] == []


def output_of(stage):
    """Run a stage, and return the bytes of its output."""
    STAGES[stage].main()
    return bytes_of(OUTPUTS[stage])


def undo(stage):
    """Remove all outputs of a stage."""
    shutil.rmtree(OUTPUTS[stage])
    shutil.rmtree(paths.WORK)


@contextlib.contextmanager
def mounted(place, *options):
    """Mount something at a folder, where this is allowed."""
    Path(place).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    ("stage", "limit", "workers"),
    [
        ("extract_frames", 30_000, "1"),
        ("extract_frames", 30_000, "2"),
        pytest.param("resnet_features", 5_000, "1", marks=pytest.mark.slow),
    ],
)
def test_output_that_the_disk_has_no_room_for_is_an_error_and_the_next_run_completes(clips, stage, limit, workers):
    if stage == "resnet_features":
        extract_frames.main()
    expected = output_of(stage)
    undo(stage)
    run_and_fail(stage, "File too large", limit=limit, workers=workers)
    assert output_of(stage) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_disk_that_becomes_full_is_an_error_and_finished_work_is_kept(clips):
    expected = output_of("extract_frames")
    largest = max(path.stat().st_size for path in paths.FRAMES.glob("*.tar"))
    undo("extract_frames")
    with mounted(paths.WORK, "-t", "tmpfs", "-o", f"size={largest + 200_000}", "none"):
        run_and_fail("extract_frames", "No space left on device")
        assert len([path for path in (paths.WORK / "frames").iterdir() if path.is_dir()]) == 1
        subprocess.run(["mount", "-o", "remount,size=8m", str(paths.WORK)], check=True)
        assert output_of("extract_frames") == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_an_output_folder_that_is_read_only_is_an_error_and_nothing_is_decoded_again(clips, monkeypatch):
    expected = output_of("extract_frames")
    undo("extract_frames")
    with mounted("data", "--bind", "data"):
        subprocess.run(["mount", "-o", "remount,bind,ro", "data"], check=True)
        run_and_fail("extract_frames", "Read-only file system: data/.frames")
    monkeypatch.setattr(clip_reader, "sample_clip", None)
    assert output_of("extract_frames") == expected


def test_a_changed_clip_costs_its_shard_alone_and_parameters_changed_back_find_the_old_shards(clips, monkeypatch):
    names, sample = [], clip_reader.sample_clip
    monkeypatch.setattr(clip_reader, "sample_clip", lambda path, *rest: names.append(path.name) or sample(path, *rest))
    first = output_of("extract_frames")
    assert len(names) == 12
    set_size(32)
    assert output_of("extract_frames") != first
    assert len(names) == 24
    set_size(64)
    assert output_of("extract_frames") == first
    assert len(names) == 24
    changed = write_video(clips / "Run" / "v_Run_g02_c01.avi", 9)
    split.main()
    extract_frames.main()
    assert changed.name in names[24:]
    shards = {extract_frames.shard_of(f"{name.split('_')[1]}/{name}", 4) for name in names[24:]}
    assert shards == {extract_frames.shard_of("Run/v_Run_g02_c01.avi", 4)}
