"""Training time of the models against the study's loop, on stand-ins for UCF-50's features: (32, 2048) per clip, 50 classes.

    python -m benchmarks.training [--clips 96] [--models gru,lstm] [--precision fp32]

The study's loop, as published: a Dataset of tensors with a DataLoader, torch's own layers, default Adam, float32, `loss.item()` at
each step, accuracy on held-out clips after each epoch. Both alternately train on the same clips for one epoch per repeat. Then as
many models at a time as there are cores, as `train-all` does.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from actionrec.evaluation.study_results import RESULTS
from actionrec.io import machine
from actionrec.models import MODELS, create_model
from actionrec.models.layers import lstm
from actionrec.training import loop
from actionrec.training.batches import on_device
from actionrec.training.loop import Examples
from actionrec.training.recipes import read_recipe
from benchmarks import pairs

FRAMES, FEATURE_DIM, CLASSES = 32, 2048, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=96, help="training clips; UCF-50 has 5,344")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="bf16 only where the processor has it")
    parser.add_argument("--repeats", type=int, default=pairs.REPEATS)
    arguments = parser.parse_args()
    names = arguments.models.split(",")
    device = machine.device()
    print(
        f"{pairs.describe_machine()}, {machine.TRAINING_THREADS} threads; {arguments.clips} clips, medians of {arguments.repeats}\n"
    )
    print(f"{'ms a step of 16 clips':22}{'study':>9}{'actionrec':>11}{'ratio':>8}")
    total: dict[str, float] = {"study": 0.0, "ours": 0.0}
    steps = -(-arguments.clips // 16)
    for name in names:
        ways = {
            "study": epoch_of_the_study(name, arguments.clips, device),
            "ours": epoch_of_ours(name, arguments.clips, device, arguments.precision),
        }
        seconds = pairs.interleaved(ways, arguments.repeats)
        for way, taken in seconds.items():
            total[way] += taken
        report(name, {way: 1000 * taken / steps for way, taken in seconds.items()})
    report("all", {way: 1000 * taken / steps for way, taken in total.items()})
    if device == "cpu" and machine.cores() > 1 and len(names) > 1:
        beside = side_by_side(names, arguments.clips, arguments.precision)
        report("all, side by side", {"study": 1000 * total["study"] / steps, "ours": 1000 * beside / steps})


def report(name: str, milliseconds: dict[str, float]) -> None:
    study, ours = milliseconds["study"], milliseconds["ours"]
    print(f"{name:22}{study:9.1f}{ours:11.1f}{ours / study:8.2f}", flush=True)


def stand_in(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, T, D) in float16, about as large as ResNet-50's, and labels (n,)."""
    random = np.random.default_rng(0)
    features = np.abs(random.standard_normal((clips, FRAMES, FEATURE_DIM), dtype=np.float32)).astype(np.float16)
    return features, np.arange(clips) % CLASSES


def epoch_of_ours(name: str, clips: int, device: str, precision: str) -> Callable[[], object]:
    loop.reproducible(0, device)
    recipe = read_recipe(name)
    settings = dataclasses.replace(recipe.train, epochs=1, precision=precision)
    model = create_model(name, recipe.arguments, feature_dim=FEATURE_DIM, class_count=CLASSES).to(device)
    stored, numbers = stand_in(clips)
    features, labels = on_device(stored, device), torch.from_numpy(numbers).to(device)
    rows = np.arange(clips)
    return lambda: loop.fit(model, Examples(features, labels, rows, rows[: clips // 5]), settings, 0, lambda epoch: None)


def epoch_of_the_study(name: str, clips: int, device: str) -> Callable[[], object]:
    stored, numbers = stand_in(clips)
    data = TensorDataset(torch.from_numpy(stored.astype(np.float32)), torch.from_numpy(numbers))
    return loop_of_the_study(name, data, TensorDataset(*data[: clips // 5]), device)


def loop_of_the_study(name: str, data: TensorDataset, held_out: TensorDataset, device: str) -> Callable[[], float]:
    """A function that trains for another epoch per call, and returns top-1 on the held-out clips."""
    recipe = read_recipe(name)
    torch.manual_seed(0)
    with torchs_layers():
        model = create_model(name, recipe.arguments, feature_dim=FEATURE_DIM, class_count=CLASSES).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)

    def epoch() -> float:
        right = 0
        with torchs_layers():
            model.train()
            for features, labels in DataLoader(data, batch_size=16, shuffle=True):
                loss = nn.functional.cross_entropy(model(features.to(device)), labels.to(device))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                loss.item()
            model.eval()
            with torch.no_grad():
                for features, labels in DataLoader(held_out, batch_size=16):
                    right += (model(features.to(device)).argmax(dim=1) == labels.to(device)).sum().item()
        return right / len(held_out)

    return epoch


@contextmanager
def torchs_layers() -> Iterator[None]:
    """Make models use torch's own layers instead of ours."""

    def outputs(layers: nn.LSTM, features: Tensor) -> Tensor:
        return layers(features)[0]

    ours = lstm.outputs
    lstm.outputs = outputs
    try:
        yield
    finally:
        lstm.outputs = ours


def side_by_side(names: list[str], clips: int, precision: str) -> float:
    """Seconds for all models, as many at a time as there are cores, without the start of the processes."""
    context = get_context("spawn")
    longest_first = sorted(names, key=lambda name: -RESULTS[name].train_seconds)
    with ProcessPoolExecutor(machine.cores(), context) as pool:
        list(pool.map(one_epoch, names, [16] * len(names), [precision] * len(names)))
        start = time.perf_counter()
        list(pool.map(one_epoch, longest_first, [clips] * len(names), [precision] * len(names)))
        return time.perf_counter() - start


def one_epoch(name: str, clips: int, precision: str) -> None:
    epoch_of_ours(name, clips, "cpu", precision)()


if __name__ == "__main__":
    main()
