"""Forty clips of two classes in ten groups, and how their folds are divided."""

from actionrec.data.clips import Clip
from actionrec.data.splits import SplitSettings

CLIPS = [
    Clip(f"{label}/v_g{group:02d}_c{take}.avi", label, f"g{group:02d}", 1, f"{label}{group}{take}")
    for label in ("Run", "Jump")
    for group in range(10)
    for take in (1, 2)
]
SETTINGS = SplitSettings("group", folds=5, fold=1, validation=0.25)
