from dataclasses import replace

import numpy as np
import pytest
import torch
from frame_shards import SETTINGS, clip_of

from actionrec.core.errors import DataError
from actionrec.features.extractors import Extractor
from actionrec.features.settings import FeatureSettings
from actionrec.io import machine
from actionrec.video import shard_file
from actionrec.video.frame_store import FrameWriter
from stages import resnet_features
from stages.resnet_features import FeatureJob

ODD_SIZES = (3, 1, 4)  # clips of each shard


@pytest.fixture
def shards(tmp_path):
    """Shards with different numbers of clips."""
    paths = [tmp_path / f"shard-{number:04d}.tar" for number in range(len(ODD_SIZES))]
    for number, (path, count) in enumerate(zip(paths, ODD_SIZES, strict=True)):
        with FrameWriter(path, SETTINGS) as writer:
            for clip in range(count):
                writer.add(f"A/{number}-{clip}.avi", "A", clip_of(10 * number + clip))
    return paths


def jobs_for(shards, settings, device="cpu"):
    source = {"frames": SETTINGS.sampling()}
    return [FeatureJob(path, clips, settings, None, source, device) for path, clips in zip(shards, ODD_SIZES, strict=True)]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_stream_of_shards_gives_the_bytes_of_each_shard_alone(shards, tmp_path, monkeypatch, device):
    monkeypatch.setattr(machine, "workers", lambda: 3)
    monkeypatch.setenv("ACTIONREC_RUNTIME", "torch")
    settings = FeatureSettings("resnet18", "random", "fp32")
    jobs = jobs_for(shards, settings, device)
    counts = []
    for number, write in enumerate(resnet_features.extract_all(jobs, counts.append)):
        assert sum(counts) == sum(ODD_SIZES[: number + 1])  # each shard comes with its last clip
        (tmp_path / f"stream-{number}").mkdir()
        write(tmp_path / f"stream-{number}")
    assert counts == [1] * sum(ODD_SIZES)
    for number, job in enumerate(jobs):
        (tmp_path / f"alone-{number}").mkdir()
        resnet_features.extract(job, tmp_path / f"alone-{number}", lambda _: None)
        stream, alone = ((tmp_path / f"{way}-{number}/features.safetensors").read_bytes() for way in ("stream", "alone"))
        assert stream == alone
        assert len(alone) > ODD_SIZES[number] * 5 * 512 * np.dtype(np.float16).itemsize


@pytest.mark.parametrize("ahead", [0, 2, 20])
def test_after_an_error_the_shards_before_it_are_finished(shards, monkeypatch, ahead):
    extractor = Extractor(lambda frames: lambda: np.ones((len(frames), 2), np.float32), ahead)
    monkeypatch.setattr(resnet_features, "_extractor", lambda *settings: extractor)
    jobs = jobs_for(shards, FeatureSettings("resnet18", "random", "fp32"))
    counts = []
    with monkeypatch.context() as patch:
        patch.setattr(shard_file, "contents", lambda shard, member, whole=shard_file.contents: damaged(whole(shard, member)))
        made = resnet_features.extract_all(jobs, counts.append)
        assert [len(next(made).args[0]) for _ in range(2)] == [3, 1]
        with pytest.raises(DataError, match=r"shard-0002\.tar is damaged"):
            next(made)
    assert counts == [1] * 4
    for wrong in ((2, 1, 4), (4, 1, 4), (3, 1, 5)):
        changed = [replace(job, clips=clips) for job, clips in zip(jobs, wrong, strict=True)]
        with pytest.raises(DataError, match=r"shard-000[0-2]\.tar was replaced while in use\. Run `dvc repro`\.$"):
            list(resnet_features.extract_all(changed, counts.append))


def test_a_backbone_is_made_by_one_thread():
    """Several would wait for each other on a busy machine: its one run took up to two seconds."""
    threads = torch.get_num_threads()
    resnet_features._backbone.cache_clear()
    try:
        torch.set_num_threads(2)
        resnet_features._backbone(FeatureSettings("mobilenet_v3_small", "random", "fp32"), 1, None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def damaged(contents):
    """The contents of a member, unless they are the description of the third shard's first clip."""
    return b"{}" if b"A/2-0.avi" in contents else contents
