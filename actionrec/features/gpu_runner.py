"""GPU runner: starts to compute features on a GPU, without waiting for it, and copies further frames to it in the meantime.

Copies run on a stream of their own. torch's allocators keep memory of both kinds, pinned and on the GPU, for the next batches.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrec.features.graphed_network import GraphedNetwork

logger = logging.getLogger(__name__)


class GpuRunner:
    """Computes the features of batches of frames, in their order. Call it on one stream."""

    def __init__(self, network: nn.Module, device: str) -> None:
        """Args: `network` maps frames (B, H, W, 3), uint8, to features (B, D), and is on the device."""
        self._graphed, self._device = GraphedNetwork(network, device), device
        self._copies = torch.cuda.Stream(device)

    def __call__(self, frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Start with a batch (B, H, W, 3). Frames in memory of `pinned_frames` are read later: do not change them.

        Returns:
            A function that waits for the features (B, D).
        """
        host_frames = torch.from_numpy(np.ascontiguousarray(frames))
        computing = torch.cuda.current_stream(self._device)
        with torch.inference_mode():
            with torch.cuda.stream(self._copies):
                arrived = host_frames.to(self._device, non_blocking=True)
            computing.wait_stream(self._copies)
            arrived.record_stream(computing)  # its memory is not filled again before `computing` has read it
            features = self._graphed(arrived)
            copied_back = _pinned(features.shape, torch.float32)
            copied_back.copy_(features, non_blocking=True)
            done = torch.cuda.Event(blocking=True)  # a thread that waits leaves its core to those that decode
            done.record(computing)
        return partial(_wait, done, copied_back, host_frames)


def _wait(done: torch.cuda.Event, features: Tensor, _: Tensor) -> NDArray[np.float32]:
    """Args: the last one is the frames, whose memory must not be filled again before they are copied."""
    done.synchronize()
    return features.numpy()


def pinned_frames(shape: Sequence[int]) -> NDArray[np.uint8]:
    """An array for frames, with any contents, in memory from which a GPU copies without help. Threads may call it."""
    return _pinned(shape, torch.uint8).numpy()


def _pinned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=True)
    except RuntimeError as error:
        _warn(str(error).strip().split("\n", 1)[0])
        return torch.empty(shape, dtype=dtype)


@cache
def _warn(reason: str) -> None:
    logger.warning("Without pinned memory, copies to and from the GPU are slower: %s", reason)
