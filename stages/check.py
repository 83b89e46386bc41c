"""Check every key of params.yaml, before any other stage runs.

Each stage checks what it reads, but DVC does not always run it: to DVC, true equals 1, and its run cache ignores keys called `size`
and `nfiles`. This stage depends on the whole file, so it runs after every change to it. Its output is always the same, so the
stages after it run only if their own parameters changed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from actionrec.core import entry, paths
from actionrec.core.errors import ParamsError
from actionrec.core.text import quoted
from actionrec.data.folds import EvaluationSettings
from actionrec.data.splits import SplitSettings
from actionrec.evaluation.settings import CompareSettings
from actionrec.features.frame_requirements import FrameFormat, frame_problems
from actionrec.features.settings import FeatureSettings
from actionrec.finetuning.settings import FinetuneSettings
from actionrec.io import params
from actionrec.io.files import write_text
from actionrec.io.params import DataSettings
from actionrec.models import MODELS, model_keys
from actionrec.parallel.code_digest import trained_models
from actionrec.training.recipes import read_recipe
from actionrec.video.frame_settings import FrameSettings

logger = logging.getLogger(__name__)

CHECKED = "params.yaml has every key that a stage reads, no other key, and only valid values.\n"


@dataclass(frozen=True)
class Params:
    """The sections of params.yaml that are not about a model."""

    seed: int
    data: DataSettings
    split: SplitSettings
    frames: FrameSettings
    features: FeatureSettings
    finetune: FinetuneSettings
    evaluation: EvaluationSettings
    compare: CompareSettings


@dataclass(frozen=True)
class BackboneSections:
    """The sections that decide what the backbone sees."""

    frames: FrameSettings
    features: FeatureSettings


@dataclass(frozen=True)
class TuningSections:
    """The sections that decide on which clips the backbone is tuned and tested."""

    finetune: FinetuneSettings
    evaluation: EvaluationSettings


def main() -> None:
    readers: list[Callable[[], object]] = [partial(params.read, Params), refuse_unknown_models]
    readers += [partial(read_recipe, model) for model in MODELS]
    readers += [refuse_models_without_stage, refuse_unfit_frames, refuse_tuning_for_all_folds]
    problems: list[str] = []
    for read in readers:
        try:
            read()
        except ParamsError as error:
            problems += str(error).split("\n")
    if problems:
        raise ParamsError("\n".join(dict.fromkeys(problems)))  # without duplicates: the models share sections
    write_text(paths.PARAMS_CHECKED, CHECKED)


def refuse_unknown_models() -> None:
    """Raise a ParamsError if the section `models` names a model that does not exist."""
    problems: list[str] = []
    models = params.section(params.load(), "models", "", problems) or {}
    params.refuse([*problems, *params.unknown_keys(models, MODELS, "models.")])


def refuse_unfit_frames() -> None:
    """Raise a ParamsError if the backbone or its weights need other values of `frames`; log a warning if only a file may."""
    try:
        read = params.read(BackboneSections)
    except ParamsError:  # reported by the reader of all sections
        return
    frames = read.frames
    frame_format = FrameFormat(frames.resolution, frames.fit, frames.snippet.length, frames.snippet.rate)
    problems = frame_problems(read.features, frame_format)
    for warning in problems.warnings:
        logger.warning("%s", warning)
    params.refuse(problems.errors)


def refuse_tuning_for_all_folds() -> None:
    """Raise a ParamsError if a backbone tuned on the training clips of one fold would be tested on other folds."""
    try:
        read = params.read(TuningSections)
    except ParamsError:  # reported by the reader of all sections
        return
    if read.finetune.epochs and read.evaluation.folds == "all":
        raise ParamsError(
            "params.yaml: evaluation.folds: all does not fit finetune.epochs: the backbone is tuned on the training clips of one "
            "fold, which are test clips of others. Set evaluation.folds to one, and run each fold: `dvc exp run -S split.fold=1`."
        )


def shared_parameters(model: str) -> str:
    """A model's value below stages.train.foreach: the shared parameters that it reads, or its own section instead."""
    keys = model_keys(model)
    width, dropout = (f"model.{key}" if key in keys else f"models.{model}" for key in ("hidden_dim", "dropout"))
    return f"{{width: {width}, dropout: {dropout}}}"


def refuse_models_without_stage() -> None:
    """Raise a ParamsError if the models of `train` in dvc.yaml are not those of actionrec/models."""
    declared = set(trained_models())
    if not declared:  # a pipeline that ends with the features
        return
    problems = [
        f"dvc.yaml: {name} is missing below stages.train.foreach. Add the line `{name}: {shared_parameters(name)}`."
        for name in MODELS
        if name not in declared
    ]
    problems += [
        f"dvc.yaml: stages.train.foreach has {quoted(name)}; actionrec/models has no {name}.py. Add it, or remove the line."
        for name in sorted(declared - set(MODELS))
    ]
    if problems:
        raise ParamsError("\n".join(problems))


if __name__ == "__main__":
    entry.run(main)
