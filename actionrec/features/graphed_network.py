"""A backbone as CUDA graphs, see `actionrec.io.cuda_graphs`: one for each shape of a batch."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from actionrec.io.cuda_graphs import WARM_UP, capture, without_waiting

logger = logging.getLogger(__name__)

MOST_GRAPHS = 4
"""Each keeps the memory of its batch; clips of one data set have batches of one or two shapes."""


@dataclass(frozen=True)
class _Captured:
    replay: Callable[[], None]
    frames: Tensor
    features: Tensor


class GraphedNetwork:
    """Computes the features of batches on a GPU, with a graph for each of the first shapes.

    Call it in `torch.inference_mode()`, always on the same stream.
    """

    def __init__(self, network: nn.Module, device: str) -> None:
        self._network, self._device = network, device
        self._captured: dict[tuple[int, ...], _Captured | None] = {}

    def __call__(self, frames: Tensor) -> Tensor:
        """Start to compute the features (B, D), float32, of frames (B, H, W, 3), uint8, on the device; does not wait.

        The next call overwrites the result: copy it on the same stream before that.
        """
        shape = tuple(frames.shape)
        if shape not in self._captured and len(self._captured) < MOST_GRAPHS:
            self._captured[shape] = self._capture(frames)
        captured = self._captured.get(shape)
        if captured is None:
            features: Tensor = self._network(frames).float()
            return features
        captured.frames.copy_(frames)
        captured.replay()
        return captured.features

    def _capture(self, frames: Tensor) -> _Captured | None:
        """Capture a graph; None if it cannot be captured, or gives other features than the network itself."""
        static = frames.clone()
        main, side = torch.cuda.current_stream(self._device), torch.cuda.Stream(self._device)
        side.wait_stream(main)
        try:
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._network(static)
                with without_waiting():
                    expected = self._network(static).float()
            main.wait_stream(side)
            replay, features = capture(lambda: self._network(static).float(), side)
            features.fill_(torch.nan)  # so that a graph without the kernels cannot pass
            replay()
            if torch.equal(features, expected):
                return _Captured(replay, static, features)
            reason = "its features differ"
        except RuntimeError as error:
            reason = str(error).strip().split("\n", 1)[0]
        logger.warning("Without a CUDA graph for batches of %s, which is slower: %s", tuple(frames.shape), reason)
        return None
