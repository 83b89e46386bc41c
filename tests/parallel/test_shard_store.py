"""The store under real stages: full and read-only disks, damaged shards, clips that come, change and go."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from film import numbered_picture, write_video
from projects import PARAMS, bytes_of
from ruamel.yaml import YAML

from actionrec.core import paths
from actionrec.video import clip_reader
from stages import extract_frames, resnet_features, split

ROOT = Path(__file__).parents[2]
OUTPUTS = {"extract_frames": paths.FRAMES, "resnet_features": paths.FEATURES}


def set_size(size):
    YAML().dump({**PARAMS, "frames": {**PARAMS["frames"], "shards": 4, "format": "raw", "resolution": size}}, paths.PARAMS)


@pytest.fixture
def clips(project, monkeypatch):
    """The folder of 12 clips, split, in 3 shards of at least 50 KB of frames and 12 KB of features."""
    for name, value in {"ACTIONREC_WORKERS": "1", "ACTIONREC_DEVICE": "cpu", "ACTIONREC_RUNTIME": "torch"}.items():
        monkeypatch.setenv(name, value)
    folder = paths.RAW / "mine"
    for first, label in enumerate(("Jump", "Run", "Sit")):
        for group in range(1, 5):
            pictures = [numbered_picture(100 * first + number) for number in range(group + 2)]
            write_video(folder / label / f"v_{label}_g{group:02d}_c01.avi", pictures)
    set_size(64)
    split.main()
    return folder


def run(stage, limit=None, workers="1"):
    """Run a stage as DVC does, perhaps with a limit on the size of files, in bytes; return its exit status and what it says."""
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
    return done.returncode, done.stderr


def refused(stage, reason, **how):
    """Run a stage that the machine refuses something; it must say so in one line, and leave nothing half-written."""
    status, said = run(stage, **how)
    assert status == 2, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith(f"error: {reason}")
    assert said.endswith("Fix this and rerun; finished work is kept.\n")
    assert not OUTPUTS[stage].exists()
    assert [str(path) for folder in ("data", "metrics", ".work") for path in Path(folder).rglob("*.draft")] == []


def whole(stage):
    """Run a stage that nothing stops, and return the bytes of its output."""
    status, said = run(stage)
    assert status == 0, said
    return bytes_of(OUTPUTS[stage])


def undo(stage):
    """Forget all that a stage made."""
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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_frames_that_the_disk_has_no_room_for_are_an_error_and_the_next_run_completes(clips, workers):
    expected = whole("extract_frames")
    undo("extract_frames")
    refused("extract_frames", "File too large", limit=30_000, workers=workers)
    assert whole("extract_frames") == expected


@pytest.mark.slow
def test_features_that_the_disk_has_no_room_for_are_an_error_and_the_next_run_completes(clips):
    extract_frames.main()
    expected = whole("resnet_features")
    undo("resnet_features")
    refused("resnet_features", "File too large", limit=5_000)
    assert whole("resnet_features") == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_disk_that_becomes_full_at_work_is_an_error_and_what_was_finished_is_kept(clips):
    expected = whole("extract_frames")
    largest = max(path.stat().st_size for path in paths.FRAMES.glob("*.tar"))
    undo("extract_frames")
    with mounted(paths.WORK, "-t", "tmpfs", "-o", f"size={largest + 200_000}", "none"):
        refused("extract_frames", "No space left on device")
        [kept] = {path.name for path in (paths.WORK / "frames").iterdir() if path.is_dir()} or {None}
        assert kept
        subprocess.run(["mount", "-o", "remount,size=8m", str(paths.WORK)], check=True)
        assert whole("extract_frames") == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_an_output_folder_that_is_read_only_is_an_error_and_nothing_is_decoded_again(clips, monkeypatch):
    expected = whole("extract_frames")
    undo("extract_frames")
    with mounted("data", "--bind", "data"):
        subprocess.run(["mount", "-o", "remount,bind,ro", "data"], check=True)
        refused("extract_frames", "Read-only file system: data/.frames")
    monkeypatch.setattr(clip_reader, "sample_clip", None)
    extract_frames.main()
    assert bytes_of(paths.FRAMES) == expected


def flip_a_byte(file):
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 2] ^= 1
    file.write_bytes(contents)


def cut_short(file):
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [flip_a_byte, cut_short])
def test_a_damaged_shard_is_made_again_and_the_result_is_the_same(clips, caplog, spoil):
    made = {}
    for stage in (extract_frames, resnet_features):
        stage.main()
        made[stage] = bytes_of(OUTPUTS[stage.__name__.removeprefix("stages.")])
    frames, features = (sorted((paths.WORK / name).glob(f"*/{file}"))[0] for name, file in STORED)
    for file in (frames, features):
        spoil(file)
    shutil.rmtree(paths.FRAMES)  # as DVC does; it has the very file that was spoilt
    shutil.rmtree(paths.FEATURES)
    caplog.clear()
    for stage in (extract_frames, resnet_features):
        stage.main()
        assert bytes_of(OUTPUTS[stage.__name__.removeprefix("stages.")]) == made[stage]
    told = [message for message in caplog.messages if "damaged" in message]
    assert told == [f"{file.parent} is damaged and is recomputed" for file in (frames, features)]


STORED = (("frames", "frames.tar"), ("features", "features.safetensors"))


def decoded_by(monkeypatch, stage):
    """The clips that a stage decodes."""
    seen, sample = [], clip_reader.sample_clip
    with monkeypatch.context() as patch:
        patch.setattr(clip_reader, "sample_clip", lambda path, *rest: (seen.append(path.name), sample(path, *rest))[1])
        stage.main()
    return seen


@pytest.mark.parametrize("change", ["changed", "removed"])
def test_a_clip_that_changes_or_goes_costs_its_shard_alone(clips, monkeypatch, change):
    assert len(decoded_by(monkeypatch, extract_frames)) == 12
    victim = clips / "Run" / "v_Run_g02_c01.avi"
    if change == "changed":
        write_video(victim, 9)
    else:
        victim.unlink()
    split.main()
    decoded = decoded_by(monkeypatch, extract_frames)
    assert (victim.name in decoded) == (change == "changed")
    assert 0 < len(decoded) < 12
    shards = {extract_frames.shard_of(f"{name.split('_')[1]}/{name}", 4) for name in decoded}
    assert shards == {extract_frames.shard_of("Run/v_Run_g02_c01.avi", 4)}


def test_another_size_and_back_finds_the_old_shards(clips, monkeypatch):
    extract_frames.main()
    before = bytes_of(paths.FRAMES)
    set_size(32)
    assert len(decoded_by(monkeypatch, extract_frames)) == 12
    assert bytes_of(paths.FRAMES) != before
    set_size(64)
    assert decoded_by(monkeypatch, extract_frames) == []
    assert bytes_of(paths.FRAMES) == before
