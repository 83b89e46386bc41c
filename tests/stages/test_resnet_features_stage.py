import numpy as np
import pytest
from frame_shards import SETTINGS, clip_of

from actionrec.features.settings import FeatureSettings
from actionrec.io import machine
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


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_stream_of_shards_gives_the_bytes_of_each_shard_alone(shards, tmp_path, monkeypatch, device):
    monkeypatch.setattr(machine, "workers", lambda: 3)
    monkeypatch.setenv("ACTIONREC_RUNTIME", "torch")
    settings = FeatureSettings("resnet18", "random", "fp32")
    jobs = [FeatureJob(path, settings, None, {"frames": SETTINGS.sampling()}, device) for path in shards]
    counts = []
    for number, write in enumerate(resnet_features.extract_all(jobs, counts.append)):
        assert sum(counts) - sum(ODD_SIZES[: number + 1]) in (0, 1)  # each shard comes with its last clip, or with the next clip
        (tmp_path / f"stream-{number}").mkdir()
        write(tmp_path / f"stream-{number}")
    assert counts == [1] * sum(ODD_SIZES)
    for number, job in enumerate(jobs):
        (tmp_path / f"alone-{number}").mkdir()
        resnet_features.extract(job, tmp_path / f"alone-{number}", lambda _: None)
        stream, alone = ((tmp_path / f"{way}-{number}/features.safetensors").read_bytes() for way in ("stream", "alone"))
        assert stream == alone
        assert len(alone) > ODD_SIZES[number] * 5 * 512 * np.dtype(np.float16).itemsize
