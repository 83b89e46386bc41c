"""Fine-tune the backbone on the project's clips, and write the results: data/backbone, and metrics/finetune.json."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import torch

from actionrec.core import paths
from actionrec.core.progress import progress
from actionrec.data.clips import read_clips
from actionrec.data.splits import SplitSettings, read_split
from actionrec.evaluation import metrics
from actionrec.evaluation.logits import compact
from actionrec.evaluation.prediction_files import write_predictions
from actionrec.evaluation.predictions import Answers, Predictions
from actionrec.features import backbones, extractors, feature_store, tuned_backbone
from actionrec.features.backbones import FeatureSettings
from actionrec.finetuning.clip_batches import ClipReader
from actionrec.finetuning.frozen_part import two_parts
from actionrec.finetuning.mirrored_classes import mirrored_labels
from actionrec.finetuning.settings import FinetuneSettings
from actionrec.finetuning.tuning import Clips, TuningRun
from actionrec.io import files, machine
from actionrec.io.tensors import save_tensors
from actionrec.parallel.code_digest import code_digest
from actionrec.training import checkpoints, loop
from actionrec.training.checkpoints import Checkpoint
from actionrec.training.loop import Epoch, Fit
from actionrec.training.training_data import label_clips
from actionrec.video.frame_index import FrameIndex
from actionrec.video.frame_settings import Sampling
from actionrec.video.frame_store import DESCRIPTION

logger = logging.getLogger(__name__)

FOLDER = paths.WORK / "finetuning"
"""Folder of the checkpoint."""


def run(features: FeatureSettings, settings: FinetuneSettings, seed: int, split: SplitSettings) -> None:
    """Tune the backbone, and write everything that the stage `finetune` leaves behind.

    Raises:
        ParamsError, DataError, WeightsError, TrainingError: what is wrong with settings, files or training.
    """
    device = machine.device()
    loop.reproducible(seed, device)
    if device != "cpu":  # pooling of some networks has no deterministic gradient on a GPU; see docs/architecture.md
        torch.use_deterministic_algorithms(True, warn_only=True)
    cv2.setNumThreads(1)  # clips are decoded in threads
    sampling = Sampling.of(feature_store.current_frames(files.read_json(paths.FRAMES / DESCRIPTION)))
    backbone = backbones.create_backbone(features, sampling.snippet.length)
    clips = read_project_clips(features, settings, sampling.resolution)
    feature_dim = extractors.feature_dim(backbone, sampling.resolution) * len(features.streams)
    parts = two_parts(backbone, sampling.resolution, settings.stages, settings.precision, device)
    tuning = TuningRun(parts, backbone.gain, feature_dim, clips, settings, seed, device)
    checkpoint = checkpoint_of(tuning, backbones.describe(features, backbone))
    frozen = tuning.solve_head()
    logger.info("frozen backbone: training top-1 %.1f %%, held out %.1f %%", 100 * frozen.train_top1, 100 * frozen.held_out_top1)

    with progress("Fine-tuning the backbone", settings.epochs, "epoch") as advance:

        def on_epoch(epoch: Epoch) -> None:
            logger.info(
                "epoch %d: training top-1 %.1f %%, held out %.1f %%",
                epoch.number,
                100 * epoch.train_top1,
                100 * epoch.held_out_top1,
            )
            advance(1)

        fit = tuning.fit(on_epoch, checkpoint)

    result = predictions(tuning, split.fold)
    record = metrics_of(tuning, frozen, fit, result)
    about = tuned_backbone.Tuning(
        features.weights_name, settings.stages, fit.best_epoch, split.protocol, split.fold, seed, backbone.gain
    )
    with files.whole_folder(paths.BACKBONE) as draft:
        state = {name: tensor.numpy() for name, tensor in parts.state().items()}
        save_tensors(draft / tuned_backbone.WEIGHTS, state, {})
        write_predictions(draft / tuned_backbone.PREDICTIONS, result)
        tuned_backbone.write_description(draft, about)
    files.write_json(paths.FINETUNE_METRICS, record)
    timing = {"seconds": round(fit.seconds, 3), "device": machine.device_name(device)}
    files.write_json(paths.FINETUNE_TIMING, {**timing, "clips_per_second": round(clips_seen(tuning, fit) / fit.seconds, 1)})
    logger.info(
        "Best epoch %d: top-1 of the tuned network %.1f %% of test clips, %.1f %% of training clips",
        fit.best_epoch,
        100 * record["test_top1"],
        100 * record["train_top1"],
    )


def read_project_clips(features: FeatureSettings, settings: FinetuneSettings, size: int) -> Clips:
    """The clips whose frames are stored, with their classes and subsets.

    Raises:
        ParamsError: clips are mirrored although classes have a direction.
        DataError: see `label_clips` and `FrameIndex`.
    """
    index = FrameIndex(paths.FRAMES)
    labelled = label_clips(read_clips(paths.CLIPS), read_split(paths.SPLIT), index.clips, paths.FRAMES)
    names = labelled.class_names
    mirrored = mirrored_labels(names, settings.flip_pairs) if settings.flip else np.arange(len(names))
    return Clips(ClipReader(index, features.streams), labelled, mirrored, size)


def checkpoint_of(tuning: TuningRun, source: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a run, found by everything that its result depends on; others are removed."""
    labelled = tuning.clips.labelled
    key = {
        "frames": tuning.clips.reader.index.signature(),
        "labels": labelled.labels.tolist(),
        "rows": {subset: rows.tolist() for subset, rows in labelled.rows.items()},
        "source": source,
        "settings": asdict(tuning.settings),
        "seed": tuning.seed,
        "device": machine.device_name(tuning.device),
        "runtime": extractors.runtime(tuning.device),
        "torch": torch.__version__,
        "arithmetic": machine.arithmetic(),
        "code": code_digest("finetune"),
    }
    path = FOLDER / f"{files.digest(key)}.safetensors"
    checkpoints.remove_others(FOLDER, {path})
    return Checkpoint(path)


def predictions(tuning: TuningRun, fold: int) -> Predictions:
    """Logits of the tuned network for the validation and test clips, from all their sample points."""
    labelled, ids = tuning.clips.labelled, tuning.clips.reader.index.clips
    reported = labelled.reported
    labels = labelled.labels[reported]
    logits = compact(tuning.predict(reported), labels)
    answers = Answers(np.array([ids[row] for row in reported]), labels, labelled.clusters[reported], logits, [logits], {})
    return Predictions(answers, labelled.reported_subsets, (0,), np.full(len(reported), fold, dtype=np.int64), fold)


def metrics_of(tuning: TuningRun, frozen: Epoch, fit: Fit, result: Predictions) -> dict[str, Any]:
    """Accuracies of the best epoch, as fractions, and the curves.

    `train_top1` is of training clips that are not augmented, from the same sample points as `held_out_top1`. The two that start
    with `frozen` are from before tuning, of a head solved for the frozen backbone.

    Args:
        frozen: the measurements before tuning.
    """
    labelled, settings = tuning.clips.labelled, tuning.settings
    train = labelled.rows["train"]
    top1 = {
        "test_top1": metrics.top_k(result.test.logits, result.test.labels, 1),
        "train_top1": metrics.top_k(tuning.predict(train, settings.segments), labelled.labels[train], 1),
        "frozen_train_top1": frozen.train_top1,
        "frozen_held_out_top1": frozen.held_out_top1,
        "held_out_top1": fit.epochs[fit.best_epoch - 1].held_out_top1,
    }
    if len(result.val.labels):
        top1["val_top1"] = metrics.top_k(result.val.logits, result.val.labels, 1)
    learning = sum(weight.numel() for weight in tuning.network.parameters() if weight.requires_grad)
    return {
        **top1,
        "best_epoch": fit.best_epoch,
        "epochs": len(fit.epochs),
        "diverged_in": fit.diverged_in,
        "learning_parameters": learning,
        "stages": settings.stages,
        "curves": [asdict(epoch) for epoch in fit.epochs],
    }


def clips_seen(tuning: TuningRun, fit: Fit) -> int:
    """Training clips of all epochs together."""
    return len(tuning.clips.labelled.rows["train"]) * len(fit.epochs)
