"""What the GPU benchmark compares with, and the limits of single steps: a part of `benchmarks.gpu`.

    python -m benchmarks.gpu_baselines frames CLIP
    python -m benchmarks.gpu_baselines features FRAMES_FOLDER --precision bf16
    python -m benchmarks.gpu_baselines training --models gru,lstm --clips 640

Prints one line of JSON per measurement: its name and its value.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from actionrec.io import machine
from benchmarks.gpu_tables import DECODING, DIFFERENCE, EAGER, FRAMES, NETWORK, NVJPEG, OURS, READING, SEEKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("frames")
    command.add_argument("clip", type=Path)
    command.set_defaults(run=lambda given: frames(given.clip))
    command = commands.add_parser("features")
    command.add_argument("folder", type=Path)
    command.add_argument("--precision", default="bf16")
    command.set_defaults(run=lambda given: features(given.folder, given.precision))
    command = commands.add_parser("training")
    command.add_argument("--models", required=True)
    command.add_argument("--clips", type=int, required=True)
    command.set_defaults(run=lambda given: training(given.models.split(","), given.clips))
    arguments = parser.parse_args()
    arguments.run(arguments)


def report(name: str, value: float) -> None:
    print(json.dumps([name, value]), flush=True)


def seconds(run: Callable[[], object], least: float = 1.0) -> float:
    """Seconds of a run: the mean over at least `least` seconds, after one run that is not counted."""
    run()
    start, runs = time.perf_counter(), 0
    while not runs or time.perf_counter() - start < least:
        run()
        runs += 1
    return (time.perf_counter() - start) / runs


def frames(clip: Path) -> None:
    """Clips a second of one process: the study's seeks, decoding alone, and this project without JPEG encoding."""
    import cv2

    from actionrec.video.sampling import evenly_spaced
    from benchmarks import decode

    cv2.setNumThreads(1)
    indices = evenly_spaced(decode.LENGTH, FRAMES)
    for way in (SEEKS, DECODING, OURS):
        report(way, 1 / seconds(lambda way=way: decode.WAYS[way](clip, indices)))


def features(folder: Path, precision: str) -> None:
    """Images a second: torch as everybody writes it, this project's network with frames in memory, and reading JPEGs."""
    import numpy as np
    import torch
    import torchvision

    from actionrec.features import backbones, extractors
    from actionrec.video import frame_store, shard_file

    shard = sorted(folder.glob("*.tar"))[0]
    threads, device = machine.workers(), machine.device()
    size = next(frame_store.read_shard(shard))[1].shape[1]
    backbone = backbones.create_backbone(backbones.FeatureSettings("resnet50", "random", precision))
    extract = extractors.create_extractor(backbone, precision=precision, size=size, device=device, threads=1)

    def read() -> Iterator[np.ndarray]:
        return (pictures for *_, pictures in frame_store.read_shards([shard], threads, empty=extract.empty))

    clips = list(read())
    count = sum(map(len, clips))
    report(READING, count / seconds(lambda: sum(1 for _ in read())))
    if device == "cpu":
        torch.set_num_threads(1)
    plain = torchvision.models.resnet50()
    plain.fc = torch.nn.Identity()
    plain.eval().to(device)
    normalised = torch.randn(FRAMES, 3, size, size, device=device)  # without PIL and transforms
    with torch.inference_mode():
        report(EAGER, FRAMES / seconds(lambda: plain(normalised).cpu()))
    report(NETWORK, count / seconds(lambda: sum(1 for _ in extract.each(iter(clips)))))
    if device != "cpu":
        with shard_file.open_shard(shard) as stream:
            jpegs = [shard_file.contents(stream, one) for one in shard_file.members(stream) if one.name.endswith(".jpg")]
        batch = [torch.from_numpy(np.frombuffer(jpeg, dtype=np.uint8).copy()) for jpeg in jpegs[: len(clips[0])]]

        def decoded() -> torch.Tensor:
            return torch.stack(torchvision.io.decode_jpeg(batch, device=device)).cpu()  # waits for it

        pictures = decoded().permute(0, 2, 3, 1).numpy().astype(int)
        report(NVJPEG, len(batch) / seconds(decoded))
        report(DIFFERENCE, float(np.abs(pictures - clips[0]).mean()))


def training(models: list[str], clips: int) -> None:
    """Seconds that an epoch of the study's loop takes for each model, held-out clips included."""
    import torch

    from benchmarks.training import epoch_of_the_study

    device = machine.device()
    torch.set_num_threads(machine.TRAINING_THREADS)
    for model in models:
        report(model, seconds(epoch_of_the_study(model, clips, device), least=0.0))


if __name__ == "__main__":
    main()
