"""Registry of the served models: loaded at their first use; models with the same backbone share it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actionrec.core import paths
from actionrec.core.errors import MALFORMED, ActionrecError, DataError
from actionrec.core.text import shortened
from actionrec.features.backbones import RANDOM, Backbone
from actionrec.features.extractors import Extractor
from actionrec.features.settings import streams_of
from actionrec.inference.default_window import default_window
from actionrec.inference.predictor import Predictor, read_backbone
from actionrec.io import machine
from actionrec.io.files import read_json
from actionrec.training.bundle import DESCRIPTION, calibration_note, is_calibrated, load_bundle
from actionrec.video.frame_settings import Snippet
from actionrec.web import figures
from actionrec.web.predict_request import RequestError

logger = logging.getLogger(__name__)


def trained() -> list[Path]:
    """The project's bundles: in the order of the comparison, then by name.

    Raises:
        DataError: there are no bundles.
    """
    folders = sorted(file.parent for file in paths.MODELS.glob(f"*/{DESCRIPTION}"))
    if not folders:
        raise DataError(
            f"{paths.MODELS} has no trained model. Run `dvc repro` to train models, or name a bundle's folder: --model."
        )
    ranks = figures.ranks()
    return sorted(folders, key=lambda folder: ranks.get(folder.name, len(ranks) + 1))


class ModelRegistry:
    """Bundles by the names of their folders. Use it from one thread at a time."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Take the folders of bundles; the first is the default.

        Raises:
            DataError: two folders have the same name, or one is missing.
        """
        self._folders = {folder.resolve().name: folder for folder in folders}
        if len(self._folders) < len(folders):
            raise DataError(f"models must have different names; got {', '.join(map(str, folders))}.")
        for folder in folders:
            if not folder.is_dir():
                raise DataError(f"{folder}: no such model. Run `dvc repro` to train one, or name a bundle's folder: --model.")
        self._device = machine.device()
        self._predictors: dict[str, Predictor] = {}
        self._backbones: dict[tuple[Any, ...], Backbone] = {}
        self._extractors: dict[tuple[Any, ...], Extractor] = {}
        self._reasons: dict[str, str] = {}  # model that cannot be used -> why, for the log

    @property
    def names(self) -> list[str]:
        return list(self._folders)

    def prepare(self) -> None:
        """Load the first model that loads without errors, so that the first visitor does not wait, and make it the default.

        Raises:
            ActionrecError: every model is damaged; the message is that of the last one.
        """
        for place, name in enumerate(self.names):
            try:
                self._loaded(name)
            except ActionrecError as error:
                if place + 1 == len(self.names):
                    raise
                logger.warning("skipped: %s", error)
            else:
                self._folders = {name: self._folders[name], **self._folders}
                return

    def predictor(self, name: str | None = None) -> Predictor:
        """A model, ready to predict; without a name, the default.

        Raises:
            RequestError: there is no such model (404), or it cannot be used (500); the log says why.
        """
        name = name or self.names[0]
        if name not in self._folders:
            raise RequestError(404, f"{shortened(name)}: no such model. There are {', '.join(self.names)}.")
        known = self._reasons.get(name)
        try:
            return self._loaded(name)
        except ActionrecError as error:
            if str(error) != known:
                logger.warning("%s cannot be used: %s", name, error)
            raise RequestError(500, _unusable(name)) from None

    def _loaded(self, name: str) -> Predictor:
        """A model; it is loaded if necessary.

        Raises:
            ActionrecError: its files are damaged or missing.
        """
        if name not in self._predictors:
            try:
                self._predictors[name] = self._load(name)
            except ActionrecError as error:
                self._reasons[name] = str(error)
                raise
            self._reasons.pop(name, None)
        return self._predictors[name]

    def _load(self, name: str) -> Predictor:
        folder = self._folders[name]
        bundle = load_bundle(folder)
        # Equal hashes mean equal weights: the hash was checked when the weights were read.
        source = tuple(bundle.features.get(key) for key in ("backbone", "weights", "weights_sha256", "precision"))
        if source not in self._backbones:
            self._backbones[source] = read_backbone(folder, bundle)
        predictor = Predictor(name, bundle, self._backbones[source], self._device)
        ready = (*source, predictor.sampling.resolution, predictor.streams)
        if ready in self._extractors:
            predictor.extractor = self._extractors[ready]
        else:
            self._extractors[ready] = predictor.extractor
        return predictor

    def describe(self) -> list[dict[str, Any]]:
        """Describe each model: its bundle, and what the comparison measured."""
        return [self._describe(name, folder) for name, folder in self._folders.items()]

    def _describe(self, name: str, folder: Path) -> dict[str, Any]:
        try:
            description = read_json(folder / DESCRIPTION)
            fields = {
                "architecture": description["model"],
                "parameters": description["parameters"],
                "class_names": description["class_names"],
                "calibrated": is_calibrated(description.get("calibration")),
                "calibration_note": calibration_note(description.get("calibration")),
                "backbone": description["features"]["backbone"],
                "streams": list(streams_of(description["features"])),
                "untrained_backbone": description["features"]["weights"] == RANDOM,
                "frames": description["frames"]["count"],
                "clip_seconds": (clip_seconds := description.get("clips", {}).get("median_seconds")),
                "window_seconds": default_window(clip_seconds, Snippet(**description["frames"].get("snippet", {}))),
            }
        except (ActionrecError, *MALFORMED):
            fields = {}
        compared = figures.of_model(name) if folder.resolve() == paths.model_folder(name).resolve() else {}
        return {"model": name, **fields, **compared, "error": _unusable(name) if name in self._reasons else None}


def _unusable(name: str) -> str:
    return f"{name} cannot be used: its files are damaged. Choose another model."
