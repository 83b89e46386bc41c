"""Bundles: a trained model as a folder with model.safetensors (weights) and model.json (everything else needed to use it)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from actionrec.core.errors import MALFORMED, DataError, WeightsError
from actionrec.core.text import first_few, quoted, shortened
from actionrec.features.feature_store import current_frames
from actionrec.features.settings import RGB_ONLY, TUNED, Stream, streams_problem
from actionrec.features.state_dicts import check_shapes, load_state
from actionrec.features.tuned_backbone import tuning_of
from actionrec.io.files import read_json, sha256_of, whole_folder, write_json
from actionrec.io.params import section, typed, typed_fields, unknown_keys
from actionrec.io.tensors import load_tensors, places, save_tensors
from actionrec.models import MODELS, create_model, model_class, model_keys, parameter_count
from actionrec.models.layers.linear_probe import LinearProbe
from actionrec.training.classifier import Classifier
from actionrec.version import __version__
from actionrec.video.frame_settings import IMPLIED, Sampling

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"


@dataclass(frozen=True)
class Architecture:
    """A model's architecture: everything needed to build it, except the weights."""

    model: str
    """One of actionrec.models.MODELS."""
    arguments: dict[str, Any]
    """Keywords of its constructor."""
    feature_dim: int
    """D, the number of features of a frame."""
    class_names: list[str]
    """The K class names; a class's number is its index."""

    def create(self) -> Classifier:
        """Build the network, with fresh weights from torch's global random state: (B, T, D) to (B, K)."""
        model = create_model(self.model, self.arguments, feature_dim=self.feature_dim, class_count=len(self.class_names))
        return Classifier(self.feature_dim, model)

    def outline(self) -> Classifier:
        """Build the network without allocating its weights, to check the shapes in a file first.

        Raises:
            ValueError: a size is out of range.
        """
        with torch.device("meta"):
            return self.create()


@dataclass(frozen=True)
class Bundle:
    """A trained model, ready to predict."""

    architecture: Architecture
    network: Classifier
    features: dict[str, Any]
    """How its features are computed: backbone, weights and their hash, precision, preprocessing, sampling of frames, streams
    unless they are rgb alone, and tuning if the backbone was tuned."""
    calibration: dict[str, float] | None = None
    """None if there were no validation clips. Otherwise `temperature`, by which logits are divided before softmax;
    `temperature_fitted`, false if all validation predictions were correct (the temperature is then 1); and `threshold`, the top
    probability below which a prediction is unsure, 0 if there were too few validation predictions to choose one."""
    record_sha256: str | None = None
    """Digest of the metrics and curves of its training (`record.digest`); None if no stage trained the model."""
    clip_seconds: float | None = None
    """Median length of its training clips, in seconds; None if unknown, as in older bundles."""

    @property
    def is_calibrated(self) -> bool:
        """Whether a temperature was fitted."""
        return is_calibrated(self.calibration)

    @property
    def calibration_note(self) -> str:
        """A short text on how its probabilities were calibrated."""
        return calibration_note(self.calibration)


def is_calibrated(calibration: Mapping[str, float] | None) -> bool:
    """Whether a temperature was fitted. Older bundles lack `temperature_fitted`; theirs is 1 if none was fitted."""
    known = calibration or {}
    return bool(known.get("temperature_fitted", known.get("temperature", 1.0) != 1.0))


def calibration_note(calibration: Mapping[str, float] | None) -> str:
    """A short text on how a bundle's probabilities were calibrated."""
    if is_calibrated(calibration):
        return "calibrated on validation clips"
    why = "all validation clips were answered correctly" if calibration else "there were no validation clips"
    return f"not calibrated: {why}"


@dataclass(frozen=True)
class _Calibration:
    temperature: float
    threshold: float

    def __post_init__(self) -> None:
        if not (1e-3 <= self.temperature <= 1e3 and 0 <= self.threshold <= 1):
            got = f"{self.temperature} and {self.threshold}"
            raise ValueError(f"temperature must be from 0.001 to 1,000 and threshold from 0 to 1; got {got}")


@dataclass(frozen=True)
class _Clips:
    median_seconds: float | None

    def __post_init__(self) -> None:
        if self.median_seconds is not None and self.median_seconds < 0:
            raise ValueError(f"median_seconds must be null or from 0; got {self.median_seconds}")


@dataclass(frozen=True)
class _Features:
    """The entries of `features` in model.json that are used."""

    backbone: str
    weights: str
    weights_sha256: str | None
    precision: Literal["fp32", "bf16"]
    streams: Sequence[Stream]


@dataclass(frozen=True)
class _Description:
    model: str
    feature_dim: int
    class_names: Sequence[str]
    sha256: str
    frames: Sampling
    clips: _Clips


def _check(description: Any, where: Path) -> None:
    """Check that a model.json has all required entries with valid values.

    Raises:
        DataError: it has not; the message lists the problems.
    """
    problems: list[str] = []
    if not isinstance(description, dict):
        raise DataError(f"{where} is not a valid model description: expected keys and values. Run `dvc repro` to recompute it.")
    frames = description.get("frames")
    complete = {"clips": {"median_seconds": None}, **description}  # unknown in older descriptions
    if isinstance(frames, dict):
        complete["frames"] = {**IMPLIED, **frames}
    said = typed_fields(_Description, complete, "", problems)
    if isinstance(features := section(description, "features", "", problems), dict):
        known = typed_fields(_Features, {"streams": list(RGB_ONLY), **features}, "features.", problems)
        if "streams" in known and (problem := streams_problem(known["streams"])):
            problems.append(f"features.{problem}")
        tuning_of(features, problems, "features.")
        if features.get("weights") == TUNED and "tuning" not in features:
            problems.append("features.tuning is missing")
    if description.get("calibration") is not None and (fitted := section(description, "calibration", "", problems)) is not None:
        values = typed_fields(_Calibration, fitted, "calibration.", problems)
        if not isinstance(fitted.get("temperature_fitted", False), bool):
            problems.append(f"calibration.temperature_fitted must be true or false; got {fitted['temperature_fitted']!r}")
        if len(values) == 2:
            try:
                _Calibration(**values)
            except ValueError as error:
                problems.append(f"calibration: {error}")
    problems += _argument_problems(description)
    names = said.get("class_names", ())
    if any(name.strip() == "" or not _is_unicode(name) for name in names):
        problems.append("class_names has a name that is empty or not valid Unicode")
    if len(set(names)) < len(names):
        problems.append("class_names has a name more than once")
    if problems:
        raise DataError(
            f"{where} is not a valid model description: {first_few(problems, 10, '; ')}. Run `dvc repro` to recompute it."
        )


def _argument_problems(description: Mapping[str, Any]) -> list[str]:
    """Problems with the model's name and the types of its constructor's keywords; sizes are checked when it is built."""
    name, arguments = description.get("model"), description.get("arguments")
    if not isinstance(name, str) or name not in MODELS:
        return [f"model must be one of {', '.join(MODELS)}; got {quoted(name)}"]
    if not isinstance(arguments, dict):
        return [f"arguments must hold keys and values; got {quoted(arguments)}"]
    problems: list[str] = []
    keys = model_keys(name)
    problems += unknown_keys(arguments, list(keys), "arguments.")
    for key, value in arguments.items():
        if key in keys:
            typed(keys[key].annotation, value, f"arguments.{key}", problems)
    return problems


def _drop_unused_dropout(description: dict[str, Any]) -> None:
    """Older linear probes had a dropout, which predictions do not use."""
    name, arguments = description.get("model"), description.get("arguments")
    if name in MODELS and issubclass(model_class(name), LinearProbe) and isinstance(arguments, dict):
        arguments.pop("dropout", None)


def _is_unicode(text: str) -> bool:
    """Whether a text can be encoded as UTF-8; JSON can contain half of a surrogate pair, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a bundle atomically; the same model gives the same bytes."""
    architecture = bundle.architecture
    features = dict(bundle.features)
    with whole_folder(folder) as draft:
        state = {name: tensor.cpu().numpy() for name, tensor in bundle.network.state_dict().items()}
        save_tensors(draft / WEIGHTS, state, {})
        description = {
            "actionrec_version": __version__,  # for people: readers do not need it, and older bundles lack it
            "model": architecture.model,
            "arguments": architecture.arguments,
            "parameters": parameter_count(bundle.network),
            "feature_dim": architecture.feature_dim,
            "class_names": architecture.class_names,
            "frames": features.pop("frames", None),
            "clips": {"median_seconds": bundle.clip_seconds},
            "features": features,
            "calibration": bundle.calibration,
            "record_sha256": bundle.record_sha256,
            "sha256": sha256_of(draft / WEIGHTS),
        }
        write_json(draft / DESCRIPTION, description)


def save_new_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a bundle to a new folder.

    Raises:
        DataError: the folder exists.
    """
    if folder.exists():
        raise DataError(f"{folder} already exists. Name another folder, or remove it first.")
    save_bundle(folder, bundle)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle; none of its contents is run as code.

    Raises:
        DataError: a file is missing or damaged.
        WeightsError: the weights do not match the description.
    """
    description = read_json(folder / DESCRIPTION)
    if isinstance(description, dict) and "frames" in description:
        description["frames"] = current_frames(description["frames"])
    if isinstance(description, dict):
        _drop_unused_dropout(description)
    _check(description, folder / DESCRIPTION)
    file = folder / WEIGHTS
    try:
        digest, features = description["sha256"], {**description["features"], "frames": description["frames"]}
        architecture = Architecture(*(description[key] for key in ("model", "arguments", "feature_dim", "class_names")))
        outline = architecture.outline()
    except (*MALFORMED, RuntimeError) as error:
        raise DataError(
            f"{folder / DESCRIPTION} is not a valid model description: {shortened(str(error), 300)}. "
            "Run `dvc repro` to recompute it."
        ) from None
    if not file.is_file():
        raise DataError(f"{file} is missing. Run `dvc repro` to make it.")
    if sha256_of(file) != digest:
        raise WeightsError(f"{file} does not match {DESCRIPTION}: its SHA-256 differs.")
    stored, _ = places(file)
    check_shapes(outline, {name: place.shape for name, place in stored.items()}, str(file))
    if strange := sorted({place.dtype for place in stored.values()} - {"F16", "F32", "F64"}):
        raise WeightsError(f"{file} has tensors of type {', '.join(strange)}; expected F32. Run `dvc repro` to recompute it.")
    network = architecture.create()
    state, _ = load_tensors(file)
    load_state(network, {name: torch.from_numpy(array) for name, array in state.items()}, str(file))
    network.eval()
    return Bundle(
        architecture,
        network,
        features,
        description.get("calibration"),
        description.get("record_sha256"),
        clip_seconds=description.get("clips", {}).get("median_seconds"),
    )
