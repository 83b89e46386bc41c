"""The tuned backbone: data/backbone, which the stage `finetune` writes. This module does not import torch.

If `finetune.epochs` is 0, the folder has a backbone.json that is always the same. Otherwise it has the weights too.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from actionrec.core.errors import DataError
from actionrec.io import checksums
from actionrec.io.files import read_json, write_json
from actionrec.io.params import typed_fields, unknown_keys

WEIGHTS = "backbone.safetensors"
"""Weights of the network without a classifier, in the folder and in bundles that include them."""
DESCRIPTION = "backbone.json"
PREDICTIONS = "predictions.npz"
"""Answers of the tuned network with its own head, in the format of actionrec.evaluation.predictions."""


@dataclass(frozen=True)
class Tuning:
    """How a backbone was tuned: the entry `tuning` in descriptions of features."""

    weights: str
    """What tuning started from, as `features.weights` names it; of a path, the file's name."""
    stages: int
    """Last stages that learned."""
    epochs: int
    """Number of the best epoch, whose weights it has."""
    protocol: str
    """How the clips were divided; it learned from the training clips."""
    fold: int
    seed: int
    gain: float
    """Factor that features are multiplied by; see `Backbone.gain`."""

    def __post_init__(self) -> None:
        if not 2.0**-100 <= self.gain <= 2.0**100:
            raise ValueError(f"gain must be from 2^-100 to 2^100; got {self.gain}")

    @property
    def phrase(self) -> str:
        """The tuning for captions.

        >>> Tuning("random", stages=1, epochs=12, protocol="group", fold=0, seed=0, gain=1.0).phrase
        'last stage tuned for 12 epochs on the training clips of fold 0'
        """
        stages = "last stage" if self.stages == 1 else f"last {self.stages} stages"
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"{stages} tuned for {epochs} on the training clips of fold {self.fold}"


@dataclass(frozen=True)
class TunedBackbone:
    """A file of weights whose last stages were trained on the clips of one split."""

    weights: Path
    sha256: str
    """Of the file."""
    tuning: Tuning


def tuning_of(features: Mapping[str, Any], problems: list[str], prefix: str = "") -> Tuning | None:
    """The entry `tuning` of a description of features; None if there is none, or it is not valid.

    Args:
        problems: what is wrong is added to it.
        prefix: of the keys in these messages.
    """
    if "tuning" not in features:
        return None
    described, before = features["tuning"], len(problems)
    if not isinstance(described, dict):
        problems.append(f"{prefix}tuning must hold keys and values")
        return None
    values = typed_fields(Tuning, described, f"{prefix}tuning.", problems)
    problems += unknown_keys(described, [field.name for field in fields(Tuning)], f"{prefix}tuning.")
    try:
        return Tuning(**values) if len(problems) == before else None
    except ValueError as error:
        problems.append(f"{prefix}tuning.{error}")
        return None


def refuse_tuned(features: Mapping[str, Any], why: str) -> None:
    """Raise an error if a description of features is of a tuned backbone.

    Args:
        why: a sentence: why these features would give a wrong result.

    Raises:
        DataError: it is.
    """
    if "tuning" in features:
        raise DataError(
            f"data/features are of a tuned backbone. {why} Set finetune.epochs to 0 and run `dvc repro resnet_features`."
        )


def read_tuned(folder: Path) -> TunedBackbone | None:
    """Read data/backbone; None if the backbone was not tuned.

    Raises:
        DataError: a file is missing or damaged.
    """
    description, problems = read_json(folder / DESCRIPTION), list[str]()
    if description == _UNTUNED:
        return None
    tuning = tuning_of(description, problems) if isinstance(description, dict) else None
    if tuning is None or not (folder / WEIGHTS).is_file():
        why = "; ".join(problems) or f"{WEIGHTS} or the entry `tuning` is missing"
        raise DataError(f"{folder} is not a tuned backbone ({why}). Run `dvc repro -f finetune`.")
    return TunedBackbone(folder / WEIGHTS, checksums.verify(folder, [WEIGHTS, DESCRIPTION])[WEIGHTS], tuning)


_UNTUNED = {"tuned": False}


def write_untuned(draft: Path) -> None:
    """Write the folder of a backbone that is not tuned."""
    write_json(draft / DESCRIPTION, _UNTUNED)


def write_description(draft: Path, tuning: Tuning) -> None:
    """Describe a tuned backbone whose weights are in the folder, and write the folder's checksums."""
    write_json(draft / DESCRIPTION, {"tuned": True, "tuning": asdict(tuning)})
    checksums.write(draft, {})
