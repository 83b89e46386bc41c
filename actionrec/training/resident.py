"""Training and evaluation on a GPU that holds all features, as CUDA graphs. n clips, T frames, D features, K classes.

Everything that differs from step to step comes from tensors on the GPU, by a counter that is there, too. So all steps launch the
same kernels with the same arguments, a graph can replay them, and nothing is copied until the epoch ends.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrec.io.cuda_graphs import RepeatedStep
from actionrec.training.step import Batch, TrainingStep


def can_be_captured(model: nn.Module, device: torch.device) -> bool:
    """Whether steps of a model can be CUDA graphs: cuDNN's dropout between recurrent layers has a state outside a graph."""
    drops = any(isinstance(part, nn.RNNBase) and part.num_layers > 1 and part.dropout for part in model.modules())
    return device.type == "cuda" and not drops


class _Rows:
    """Row numbers of clips, taken in groups by a counter on the device."""

    def __init__(self, count: int, size: int, device: torch.device) -> None:
        self._rows = torch.zeros(count, dtype=torch.long, device=device)
        self._offsets = torch.arange(size, device=device)
        self.group = torch.zeros(1, dtype=torch.long, device=device)
        """The number of the next group."""
        self.size = size
        self.full, self.rest = divmod(count, size)
        """Groups of `size` clips, and the clips of the last, smaller group."""

    def start(self, rows: NDArray[np.int64]) -> None:
        self._rows.copy_(torch.from_numpy(rows))
        self.group.zero_()

    def next(self, size: int) -> tuple[Tensor, Tensor]:
        """Places of the next group's clips in the order, and their row numbers; (size,) each."""
        places = self.group * len(self._offsets) + self._offsets[:size]
        return places, self._rows[places]


class ResidentTraining:
    """Takes the steps of epochs: full batches by a CUDA graph, and the last, smaller one without."""

    def __init__(self, features: Tensor, labels: Tensor, clips: int, batch_size: int, step: TrainingStep) -> None:
        """Args:
        features: (n, T, D), any float type, on the GPU.
        labels: (n,).
        clips: of an epoch.
        step: on a GPU, of an optimiser that has its learning rate in a tensor.
        """
        device = features.device
        self._features, self._labels, self._step = features, labels, step
        self._rows = _Rows(clips, batch_size, device)
        self._rates = torch.zeros(-(-clips // batch_size), device=device)
        self._time_steps: Tensor | None = None
        self._shares: Tensor | None = None
        self._full = RepeatedStep(device, "training")

    def __call__(
        self,
        order: NDArray[np.int64],
        rates: Sequence[float],
        time_steps: NDArray[np.int32] | None,
        shares: NDArray[np.float32] | None,
    ) -> None:
        """See `loop.TakeSteps`."""
        self._rows.start(order)
        self._rates.copy_(torch.tensor(rates))
        self._time_steps = _into(self._time_steps, time_steps, self._features.device)
        self._shares = _into(self._shares, shares, self._features.device)
        for _ in range(self._rows.full):
            self._full(lambda: self._take(self._rows.size), lambda: [*self._step.changed(), self._rows.group])
        if self._rows.rest:
            self._take(self._rows.rest)

    def _take(self, size: int) -> None:
        places, rows = self._rows.next(size)
        time_steps = None if self._time_steps is None else self._time_steps[places]
        shares = None if self._shares is None else self._shares[places]
        batch = Batch(self._features[rows].float(), self._labels[rows], time_steps, shares)
        self._step(batch, self._rates[self._rows.group].squeeze(0))
        self._rows.group += 1


class ResidentPrediction:
    """Predicts the same clips again and again while their model is trained."""

    def __init__(self, model: nn.Module, features: Tensor, rows: NDArray[np.int64], batch_size: int) -> None:
        """Args: see `ResidentTraining`; `rows` are those of the clips."""
        self._model, self._features, self._order = model, features, rows
        self._rows = _Rows(len(rows), batch_size, features.device)
        self._latest = torch.empty(0)  # logits of the latest full batch
        self._full = RepeatedStep(features.device, "evaluation")

    def __call__(self) -> NDArray[np.float32]:
        """Logits by the model as it is now, without dropout: (clips, K)."""
        self._model.eval()
        with torch.inference_mode():
            self._rows.start(self._order)
            logits = []
            for _ in range(self._rows.full):
                self._full(self._take, lambda: [self._latest, self._rows.group])
                logits.append(self._latest.clone())
            if self._rows.rest:
                logits.append(self._next(self._rows.rest))
            return torch.cat(logits).cpu().numpy()

    def _take(self) -> None:
        logits = self._next(self._rows.size)
        if not len(self._latest):
            self._latest = torch.empty_like(logits)
        self._latest.copy_(logits)

    def _next(self, size: int) -> Tensor:
        """Logits of the next batch: (size, K)."""
        _, rows = self._rows.next(size)
        self._rows.group += 1
        logits: Tensor = self._model(self._features[rows].float()).float()
        return logits


def _into(tensor: Tensor | None, array: NDArray[np.generic] | None, device: torch.device) -> Tensor | None:
    """Copy an array to the device: into the tensor whose address a graph has, or into a new one."""
    if array is None:
        return None
    new = torch.from_numpy(array)
    return new.to(device) if tensor is None else tensor.copy_(new)
