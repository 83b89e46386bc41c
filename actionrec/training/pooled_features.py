"""Pooled features of the training clips in blocks, so that logistic regression needs little memory for its logits.

n training clips, P pooled features.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from actionrec.io.scratch import scratch_array
from actionrec.models.layers.linear_probe import LinearProbe
from actionrec.training.batches import batches, fits_on_gpu
from actionrec.training.classifier import Classifier
from actionrec.training.loop import EVALUATION_BATCH, Examples

ONE_BLOCK = 20_000
"""Up to this many clips are one block, because sums over several blocks are rounded differently."""
_BLOCK = 4096  # clips; their logits for 700 classes fit a processor's cache

_CONSTANT = 1e-4  # below this share of the typical deviation, a pooled feature counts as constant and is ignored


def pooled_blocks(network: Classifier, examples: Examples) -> Sequence[Tensor]:
    """Pool the features of the training clips, which are read once, in batches.

    The blocks are parts of one tensor of n * P * 4 bytes. It is on a GPU if half of the GPU's free memory holds it; else in main
    memory, or in a temporary file above 1 GiB.

    Args:
        network: its model is a LinearProbe.

    Returns:
        Blocks (b, P) in the order of the training clips.
    """
    probe, rows, device = cast(LinearProbe, network.model), examples.train_rows, str(examples.labels.device)
    groups = [rows[start : start + EVALUATION_BATCH] for start in range(0, len(rows), EVALUATION_BATCH)]
    shape = (len(rows), probe.fc.in_features)
    on_gpu = fits_on_gpu(4 * shape[0] * shape[1], device)
    pooled = torch.empty(shape, device=device) if on_gpu else torch.from_numpy(scratch_array(shape))
    with torch.no_grad():
        parts = pooled.split(EVALUATION_BATCH)
        for part, batch in zip(parts, batches(examples.features, groups, device), strict=True):
            part.copy_(probe.pool(network.standardise(batch)))
    return pooled.split(len(rows) if len(rows) <= ONE_BLOCK else _BLOCK)


def standardisation(blocks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean (P,) of the columns, and what to multiply with (P,): 1 / deviation, or 0 for a constant column.

    In float64; the statistics of blocks are merged as in Chan, Golub and LeVeque (1979).
    """
    count, mean, variance = 0, blocks[0].new_zeros((), dtype=torch.float64), blocks[0].new_zeros((), dtype=torch.float64)
    for block in blocks:
        block_variance, block_mean = torch.var_mean(block.double(), dim=0, correction=0)
        count += len(block)
        share, shift = len(block) / count, block_mean - mean
        variance = (1 - share) * variance + share * block_variance + share * (1 - share) * shift.square()
        mean = mean + share * shift
    deviation = variance.sqrt()
    scale = torch.where(deviation > _CONSTANT * deviation.median(), 1 / deviation, 0)
    return mean.float(), scale.float()
