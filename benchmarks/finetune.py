"""Rate of fine-tuning: an epoch of actionrec against a plain PyTorch loop with a DataLoader and torchvision.transforms.v2.

    python -m benchmarks.finetune [--backbone resnet50] [--weights random] [--clips 32] [--epochs 2]

Both read the same stored JPEG frames and train the last stage of the same network with the same loss, batch and optimiser; the
plain loop freezes the other stages and batch normalisation, too. On a GPU there is a third row: the plain loop's step alone, with
its frames already there. One epoch is not counted. Also printed: the loss and accuracy on the training clips in the last epoch.
"""

import argparse
import statistics
import tarfile
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import io as images
from torchvision.transforms import v2

from actionrec.features import backbones, extractors
from actionrec.features.backbones import MEAN, STD, Backbone, FeatureSettings
from actionrec.finetuning.clip_batches import ClipReader
from actionrec.finetuning.frozen_part import two_parts
from actionrec.finetuning.last_stages import last_stages
from actionrec.finetuning.pixel_augmentation import augment, draw
from actionrec.finetuning.settings import HEAD_FACTOR, FinetuneSettings
from actionrec.finetuning.tuning import Clips, TuningRun, learning_rate
from actionrec.io import checksums, machine
from actionrec.training import loop
from actionrec.training.step import arithmetic
from actionrec.training.training_data import LabelledClips
from actionrec.video.frame_index import FrameIndex
from actionrec.video.frame_settings import Sampling
from actionrec.video.frame_store import FrameWriter
from actionrec.video.sampling import SampledClip
from benchmarks import pairs

STEPS, SIZE, CLASSES = 32, 224, 4  # sample points of a clip; pixels; classes
SETTINGS = {
    "stages": 1, "segments": 8, "batch_size": 8, "learning_rate": 1e-4, "weight_decay": 1e-4, "dropout": 0.5, "crop": 0.5,
    "flip": True, "flip_pairs": (), "colour": 0.2, "precision": "bf16",
}  # fmt: skip


class Result(NamedTuple):
    """What one way measured."""

    clips_per_second: float
    loss: float
    top1: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument(
        "--weights", default=backbones.RANDOM, help="or a file; the accuracies say something only with trained weights"
    )
    parser.add_argument("--clips", type=int, default=32, help="a multiple of the batch of 8")
    parser.add_argument("--epochs", type=int, default=2, help="that are timed, after one that is not")
    arguments = parser.parse_args()
    device = machine.device()
    torch.set_num_threads(machine.TRAINING_THREADS if device == "cpu" else machine.cores())
    cv2.setNumThreads(1)
    print(f"{pairs.describe_machine()}; {machine.device_name(device)}; {arguments.backbone}, last stage, {arguments.clips} clips")
    with tempfile.TemporaryDirectory() as name:
        labels = write_frames(Path(name), arguments.clips)
        settings = FinetuneSettings(epochs=1 + arguments.epochs, **SETTINGS)
        ways = {"plain": plain, "actionrec": ours} | ({"plain, frames on the GPU": resident} if device != "cpu" else {})
        backbone = FeatureSettings(arguments.backbone, arguments.weights, "bf16")
        print_augmentation(settings)
        results = {way: run(backbone, Path(name), labels, settings, device) for way, run in ways.items()}
    print(f"\n{'':26}{'clips/s':>10}{'ratio':>8}{'loss':>8}{'top-1':>8}")
    for way, result in results.items():
        ratio = result.clips_per_second / results["plain"].clips_per_second
        print(f"{way:26}{result.clips_per_second:10.2f}{ratio:8.2f}{result.loss:8.3f}{result.top1:8.2f}")


def write_frames(folder: Path, clips: int) -> torch.Tensor:
    """Write clips that differ in the colours of a pattern that moves; return their classes."""
    sampling = Sampling(STEPS, SIZE, "jpeg", 95)
    random = np.random.default_rng(0)
    labels = np.arange(clips) % CLASSES
    with FrameWriter(folder / "0000.tar", sampling) as writer:
        for clip, label in enumerate(labels):
            pattern = cv2.resize(random.integers(0, 256, (16, 16, 3), dtype=np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
            pattern[..., int(label) % 3] //= 2 + int(label) // 3
            frames = np.stack([np.roll(pattern, 3 * step, axis=1) for step in range(STEPS)])
            writer.add(f"clip{clip:05d}", str(label), SampledClip(frames, list(range(STEPS)), STEPS, STEPS))
    checksums.write(folder, {})
    return torch.from_numpy(labels)


def ours(backbone: FeatureSettings, folder: Path, labels: Tensor, settings: FinetuneSettings, device: str) -> Result:
    network = backbones.create_backbone(backbone)
    rows = {"train": np.arange(len(labels)), "val": np.arange(1), "test": np.arange(0)}
    labelled = LabelledClips(labels.numpy(), [str(number) for number in range(CLASSES)], np.arange(len(labels)), rows)
    clips = Clips(ClipReader(FrameIndex(folder), ["rgb"]), labelled, np.arange(CLASSES), SIZE)
    loop.reproducible(0, device)
    parts = two_parts(network, SIZE, settings.stages, settings.precision, device)
    tuning = TuningRun(parts, network.gain, extractors.feature_dim(network, SIZE), clips, settings, 0, device)
    ends: list[float] = []
    fit = tuning.fit(lambda _: ends.append(time.perf_counter()), None)
    last = fit.epochs[-1]
    return Result(rate(ends, len(labels)), last.train_loss, last.train_top1)


def augmentation_v2(settings: FinetuneSettings) -> v2.Compose:
    crop = v2.RandomResizedCrop(SIZE, scale=(settings.crop, 1), antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), v2.ColorJitter(settings.colour, settings.colour, settings.colour)])


def print_augmentation(settings: FinetuneSettings) -> None:
    """Print the time of augmenting one clip's frames, on one thread."""
    frames = np.random.default_rng(0).integers(0, 256, (settings.segments, SIZE, SIZE, 3), dtype=np.uint8)
    tensors, transform = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous(), augmentation_v2(settings)
    epochs = count()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    taken = pairs.interleaved(
        {
            "actionrec": lambda: augment(frames, draw("clip", 0, next(epochs), settings, STEPS, (SIZE, SIZE))),
            "transforms.v2": lambda: transform(tensors),
        },
        repeats=31,
    )
    torch.set_num_threads(threads)
    print("augmentation of a clip:", ", ".join(f"{way} {1000 * seconds:.1f} ms" for way, seconds in taken.items()))


class StoredClips(Dataset[tuple[Tensor, Tensor]]):
    """The stored frames as a data set of torch: one random frame of each segment, and the clip's class."""

    def __init__(self, folder: Path, labels: Tensor, settings: FinetuneSettings) -> None:
        self.labels, self.segments = labels, settings.segments
        self.clips: list[list[bytes]] = []
        with tarfile.open(folder / "0000.tar") as tar:
            for member in tar:
                contents = tar.extractfile(member)
                assert contents is not None
                if member.name.endswith(".json"):
                    self.clips.append([])
                else:
                    self.clips[-1].append(contents.read())
        self.transform = v2.Compose([augmentation_v2(settings), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        length = STEPS // self.segments
        steps = [segment * length + int(torch.randint(length, ())) for segment in range(self.segments)]
        frames = [images.decode_jpeg(torch.frombuffer(bytearray(self.clips[row][step]), dtype=torch.uint8)) for step in steps]
        return self.transform(torch.stack(frames)), self.labels[row]


class PlainNetwork(nn.Module):
    """The same network as torchvision's users would write it: (B, S, 3, H, W) to (B, K)."""

    def __init__(self, backbone: Backbone, settings: FinetuneSettings) -> None:
        super().__init__()
        self.backbone = backbone.network
        for name in last_stages(backbone, SIZE, settings.stages).learning:
            self.backbone.get_submodule(name).requires_grad_(True)
        self.head = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(extractors.feature_dim(backbone, SIZE), CLASSES))

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.backbone(pictures.flatten(0, 1)).flatten(1)
        logits: Tensor = self.head(features).unflatten(0, pictures.shape[:2]).mean(1)
        return logits


def plain(backbone: FeatureSettings, folder: Path, labels: Tensor, settings: FinetuneSettings, device: str) -> Result:
    on_gpu, workers = device != "cpu", machine.cores()
    data = StoredClips(folder, labels, settings)
    loader = DataLoader(data, settings.batch_size, shuffle=True, num_workers=workers, pin_memory=on_gpu, persistent_workers=True)
    return plain_loop(backbone, loader, len(labels), settings, device)


def resident(backbone: FeatureSettings, folder: Path, labels: Tensor, settings: FinetuneSettings, device: str) -> Result:
    data = StoredClips(folder, labels, settings)
    batches = [tuple(part.to(device) for part in batch) for batch in DataLoader(data, settings.batch_size)]
    return plain_loop(backbone, batches, len(labels), settings, device)


def plain_loop(
    backbone: FeatureSettings, batches: Iterable[Sequence[Tensor]], clips: int, settings: FinetuneSettings, device: str
) -> Result:
    torch.manual_seed(0)
    model = PlainNetwork(backbones.create_backbone(backbone), settings).to(device)
    if device != "cpu":
        model.to(memory_format=torch.channels_last)
    learning = [weight for weight in model.backbone.parameters() if weight.requires_grad]
    groups = [{"params": learning, "factor": 1}, {"params": [*model.head.parameters()], "factor": HEAD_FACTOR}]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps, ends, totals = clips // settings.batch_size, [], torch.zeros(2)
    for epoch in range(settings.epochs):
        model.train()
        model.backbone.eval()
        totals = torch.zeros(2, device=device)
        for step, (pictures, labels) in enumerate(batches):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(settings, epoch, step, steps) * group["factor"]
            on_device = labels.to(device, non_blocking=True)
            with arithmetic(settings.precision, torch.device(device)):
                logits = model(pictures.to(device, non_blocking=True)).float()
            loss = nn.functional.cross_entropy(logits, on_device)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            totals += torch.stack([loss.detach() * len(labels), (logits.argmax(1) == on_device).sum()])
        loss_sum, correct = totals.tolist()
        ends.append(time.perf_counter())
    return Result(rate(ends, clips), loss_sum / clips, correct / clips)


def rate(ends: Sequence[float], clips: int) -> float:
    """Clips a second of the median epoch, from the times at which epochs ended; the first is not counted."""
    return clips / statistics.median(after - before for before, after in pairwise(ends))


if __name__ == "__main__":
    main()
