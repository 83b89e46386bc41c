"""Tuning: trains the last stages of a backbone with a TSN head, and keeps the epoch that is best on held-out clips.

n clips, T sample points, S segments, K classes. On one kind of machine, the same seed gives bit-identical weights.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrec.core.errors import ParamsError, TrainingError
from actionrec.evaluation import metrics
from actionrec.finetuning import pixel_augmentation
from actionrec.finetuning.clip_batches import ClipReader, batches
from actionrec.finetuning.frozen_part import TwoParts
from actionrec.finetuning.segment_network import SegmentNetwork
from actionrec.finetuning.settings import HEAD_FACTOR, FinetuneSettings
from actionrec.training import logistic_regression, loop
from actionrec.training.logistic_regression import ProbeSettings
from actionrec.training.loop import Checkpointer, Epoch, Examples, Fit
from actionrec.training.optimisers import AdamW
from actionrec.training.step import arithmetic
from actionrec.training.training_data import LabelledClips

_WARMUP = 0.1  # share of the steps in which the learning rate rises
_LARGEST_NORM = 20.0  # of the gradient, as in TSN; larger ones are scaled down

# Of the baseline `mean_pool` in params.yaml.
_PROBE = ProbeSettings(weight_decay=0.01, standardise=True, class_weights="none")


@dataclass(frozen=True)
class Clips:
    """The clips that the backbone is tuned and evaluated on."""

    reader: ClipReader
    labelled: LabelledClips
    mirrored: NDArray[np.int64]
    """(K,): the label of a mirrored clip, for each class."""
    size: int
    """Width and height of the frames, pixels."""


class TuningRun:
    """One tuning run."""

    def __init__(
        self, parts: TwoParts, gain: float, feature_dim: int, clips: Clips, settings: FinetuneSettings, seed: int, device: str
    ) -> None:
        """Prepare a run.

        Args:
            gain: factor of the backbone's features.
            feature_dim: D of all streams together.

        Raises:
            ParamsError: there are fewer sample points than segments, or fewer training clips than a batch.
        """
        self.parts, self.clips, self.settings, self.seed, self.device = parts, clips, settings, seed, device
        classes = len(clips.labelled.class_names)
        self.network = SegmentNetwork(parts.tuned, gain, feature_dim, classes, settings.dropout).to(device)
        self.rows = clips.labelled.rows
        _check_counts(settings, clips.reader.index.steps(0), len(self.rows["train"]))

    def solve_head(self) -> Epoch:
        """Solve the head for the features of the frozen backbone, so that tuning starts from the baseline `mean_pool`.

        A head with random weights would first spoil what the backbone knows (arXiv 2202.10054).

        Returns:
            The measurements of the frozen backbone with this head.

        Raises:
            TrainingError: features are not finite, or a GPU is out of memory.
        """
        labelled = self.clips.labelled
        held_out = self.rows[labelled.held_out]
        needed = np.concatenate([self.rows["train"], held_out])
        features = np.zeros((len(labelled.labels), 1, self.network.head.standardise.mean.numel()), dtype=np.float32)
        with self._naming_memory():
            for group, group_features in self._evaluate(needed, self.settings.segments, self.network.features):
                features[group] = group_features.mean(dim=1, keepdim=True).cpu().numpy()
        self.network.head.standardise.fit(features, self.rows["train"])
        examples = Examples(features, torch.from_numpy(labelled.labels).to(self.device), self.rows["train"], held_out)
        fit = logistic_regression.fit(self.network.head, examples, _PROBE, lambda _: None)
        return fit.epochs[0]

    def fit(self, on_epoch: Callable[[Epoch], None], checkpointer: Checkpointer | None) -> Fit:
        """Train; the network then has the best epoch's weights.

        Raises:
            TrainingError: the loss is not finite in the first epoch, or a GPU is out of memory.
        """
        settings = self.settings
        groups = [
            {"params": [weight for weight in self.parts.tuned.parameters() if weight.requires_grad], "factor": 1},
            {"params": list(self.network.head.parameters()), "factor": HEAD_FACTOR},
        ]
        optimiser = AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
        shuffle = torch.Generator().manual_seed(self.seed)

        def run_epoch(number: int) -> Epoch:
            epoch = self._evaluated(self._train_epoch(optimiser, shuffle, number))
            if number == 1 and not epoch.is_finite:
                raise TrainingError(
                    "the loss is not finite in the first epoch of fine-tuning. "
                    f"Lower finetune.learning_rate (now {settings.learning_rate})."
                )
            return epoch

        with self._naming_memory():
            return loop.run_epochs(self.network, optimiser, shuffle, settings.epochs, run_epoch, on_epoch, checkpointer)

    @contextmanager
    def _naming_memory(self) -> Iterator[None]:
        """Turn torch's error of a GPU without memory into a TrainingError that names the settings to lower."""
        settings = self.settings
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"{self.device} is out of memory for fine-tuning ({str(error).partition('. ')[0]}). Lower finetune.batch_size (now "
                f"{settings.batch_size}), finetune.segments (now {settings.segments}) or finetune.stages (now {settings.stages})."
            ) from None

    def predict(self, rows: NDArray[np.int64], segments: int | None = None) -> NDArray[np.float32]:
        """Logits of clips that are not augmented: (rows, K), the mean over some of their sample points.

        Args:
            segments: uses the middle sample point of each; None uses all sample points.
        """
        logits = [group_logits for _, group_logits in self._evaluate(rows, segments, self.network)]
        return torch.cat(logits).cpu().numpy()

    def _evaluate(
        self, rows: NDArray[np.int64], segments: int | None, compute: Callable[..., Tensor]
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Yield groups of clips that are not augmented, with what `compute` gives for each, in float32.

        Args:
            segments: see `predict`.
            compute: `SegmentNetwork.forward` or `SegmentNetwork.features`.
        """
        reader = self.clips.reader

        def read(row: int) -> NDArray[np.uint8]:
            total = reader.index.steps(row)
            return reader.read(row, pixel_augmentation.middle_steps(total, segments or total))

        self.network.eval()
        groups = _groups(rows, 1 if segments is None else self.settings.batch_size)
        with torch.inference_mode():
            for group, pictures in zip(groups, batches(groups, read), strict=True):
                yield group, self._computed(pictures, compute).float()

    def _train_epoch(self, optimiser: torch.optim.Optimizer, shuffle: torch.Generator, number: int) -> Epoch:
        """Train on each training clip once; the held-out measurements are NaN until the caller sets them."""
        settings, reader = self.settings, self.clips.reader
        train = self.rows["train"]
        order = train[torch.randperm(len(train), generator=shuffle).numpy()]
        drawn = {int(row): self._draw(int(row), number) for row in order}
        plain = self.clips.labelled.labels
        targets = {row: self.clips.mirrored[plain[row]] if one.is_mirrored else plain[row] for row, one in drawn.items()}

        def read(row: int) -> NDArray[np.uint8]:
            return reader.read(row, drawn[row].steps, drawn[row])

        self.network.train()
        groups = _groups(order, settings.batch_size)
        # These sums are read once per epoch: reading them at each step would make a GPU wait.
        loss_sum, norm_sum, correct = (torch.zeros((), device=self.device) for _ in range(3))
        rate = settings.learning_rate
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        for step, (group, pictures) in enumerate(zip(groups, batches(groups, read), strict=True)):
            rate = learning_rate(settings, number - 1, step, len(groups))
            for parameters in optimiser.param_groups:
                parameters["lr"] = rate * parameters["factor"]
            labels = torch.tensor([targets[int(row)] for row in group], device=self.device)
            logits = self._computed(pictures, self.network).float()
            loss = nn.functional.cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            norm_sum += nn.utils.clip_grad_norm_(weights, _LARGEST_NORM)
            optimiser.step()
            loss_sum += loss.detach() * len(group)
            correct += (logits.detach().argmax(dim=1) == labels).sum()
        clips, nan = len(order), math.nan
        return Epoch(number, rate, loss_sum.item() / clips, correct.item() / clips, nan, nan, norm_sum.item() / len(groups))

    def _draw(self, row: int, epoch: int) -> pixel_augmentation.Draw:
        index = self.clips.reader.index
        return pixel_augmentation.draw(index.clips[row], self.seed, epoch, self.settings, index.steps(row), (self.clips.size,) * 2)

    def _evaluated(self, epoch: Epoch) -> Epoch:
        rows = self.rows[self.clips.labelled.held_out]
        logits, labels = self.predict(rows, self.settings.segments), self.clips.labelled.labels[rows]
        return replace(epoch, held_out_loss=metrics.cross_entropy(logits, labels), held_out_top1=metrics.top_k(logits, labels, 1))

    def _computed(self, pictures: NDArray[np.uint8], compute: Callable[..., Tensor]) -> Tensor:
        """What `compute` gives for pictures (B, S, M, L, H, W, 3)."""
        clips, _, streams, length = pictures.shape[:4]
        frames = length if self.parts.takes_frames else 1
        with arithmetic(self.settings.precision, torch.device(self.device)):
            return compute(self.parts.frozen(pictures.reshape(-1, *pictures.shape[-3:])), clips, streams, frames)


def learning_rate(settings: FinetuneSettings, epoch: int, step: int, steps: int) -> float:
    """The backbone's learning rate in one step: it rises in the first tenth of the steps, and falls to nearly 0 along a cosine.

    Without the rise, Adam's first steps, which are as large as later ones but less certain, spoil what the backbone knows.

    Args:
        epoch: from 0.
        step: within the epoch, from 0.
        steps: per epoch.
    """
    step, total = epoch * steps + step, settings.epochs * steps
    rising = min(1.0, (step + 1) / (_WARMUP * total))
    return settings.learning_rate * rising * (1 + math.cos(math.pi * step / total)) / 2


def _groups(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _check_counts(settings: FinetuneSettings, steps: int, train_clips: int) -> None:
    problems: Sequence[str] = [
        f"params.yaml: finetune.{name}: {why}; got {got}, expected at most {most}."
        for name, got, most, why in (
            ("segments", settings.segments, steps, "a clip has fewer sample points (frames.count)"),
            ("batch_size", settings.batch_size, train_clips, "there are fewer training clips"),
        )
        if got > most
    ]
    if problems:
        raise ParamsError("\n".join(problems))
