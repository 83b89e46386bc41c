"""Batches of features for training, prefetched from the store or kept on a GPU if they fit.

Memory use does not grow with the number of clips: a batch is read from its shards while the previous one is in use. With enough
free memory, the operating system caches the shards, and later epochs do not read the disk.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrec.features.feature_store import Features

_GPU_SHARE = 0.5  # of a GPU's free memory that features may use; the rest is for the model and training


def on_device(features: Features, device: str) -> Features:
    """Copy all features to a GPU if they fit into half of its free memory; otherwise return them unchanged."""
    if not device.startswith("cuda") or isinstance(features, Tensor):
        return features
    clips, frames, feature_dim = features.shape
    if not fits_on_gpu(clips * frames * feature_dim * 2, device):
        return features
    resident = torch.empty((clips, frames, feature_dim), dtype=torch.float16, device=device)
    for start in range(0, clips, 256):
        rows = np.arange(start, min(start + 256, clips))
        resident[start : start + len(rows)] = torch.from_numpy(features[rows]).to(device)
    return resident


def fits_on_gpu(size: int, device: str) -> bool:
    """Whether the device is a GPU and half of its free memory holds `size` bytes."""
    if not device.startswith("cuda"):
        return False
    free, _ = torch.cuda.mem_get_info(device)
    # Memory that torch keeps, such as an earlier copy's: torch reuses it, or returns it to the driver before it runs out.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return size <= _GPU_SHARE * free


def batches(features: Features, rows: Sequence[NDArray[np.int64]], device: str) -> Iterator[Tensor]:
    """Yield the features of each group of rows, (B, T, D) in float32, on the device."""
    if isinstance(features, Tensor):
        if len(rows):  # copy all row numbers at once: a copy for each batch would wait for the previous batch
            together = torch.from_numpy(np.concatenate(rows)).to(features.device)
            for group in together.split([len(one) for one in rows]):
                yield features[group].float()
        return
    with ThreadPoolExecutor(1) as reader:
        ahead: deque[Future[Tensor]] = deque()
        for group in rows:
            ahead.append(reader.submit(_read, features, group, device))
            if len(ahead) > 1:
                yield ahead.popleft().result().to(device, non_blocking=True).float()
        while ahead:
            yield ahead.popleft().result().to(device, non_blocking=True).float()


def _read(features: Features, rows: NDArray[np.int64], device: str) -> Tensor:
    batch = torch.from_numpy(np.asarray(features[rows]))
    return batch.pin_memory() if device.startswith("cuda") else batch
