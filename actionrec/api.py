"""The public Python API: load a trained model and predict videos, or train a model on arrays of features.

n clips, T frames, D features per frame, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from actionrec.core.errors import VideoError
from actionrec.evaluation import calibration
from actionrec.features.feature_store import FeatureSet
from actionrec.inference import explanation, timeline
from actionrec.inference.explanation import Explanation
from actionrec.inference.predictor import Prediction, Predictor, check_file, find_bundle
from actionrec.inference.predictor import load as load_predictor
from actionrec.inference.timeline import Segment
from actionrec.io import machine
from actionrec.models import MODELS, model_class, model_keys
from actionrec.models.layers.linear_probe import LinearProbe
from actionrec.training import logistic_regression, loop, record, seed_runs
from actionrec.training.bundle import Architecture, Bundle, save_new_bundle
from actionrec.training.loop import TrainSettings
from actionrec.training.recipes import Recipe
from actionrec.training.training_data import TrainingData
from actionrec.video.clip_reader import timed_frames
from actionrec.video.decoder import open_video

# The defaults of params.yaml, which is not part of the installed package.
_TRAIN: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 16,
    "learning_rate": 0.001,
    "weight_decay": 0.00001,
    "step_size": 5,
    "gamma": 0.5,
    "warmup_epochs": 0,
    "standardise": True,
    "clip_norm": 0,
    "precision": "bf16",
    "class_weights": "none",
    "mixup": 0,
    "drop_frames": 0,
    "time_jitter": 0,
}
_MODEL: dict[str, Any] = {"hidden_dim": 512, "dropout": 0.3}
_ATTENTION: dict[str, Any] = {"learning_rate": 0.0003, "warmup_epochs": 1, "clip_norm": 1}
_SOLVED: dict[str, Any] = {"weight_decay": 0.01}
_OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("transformer", "swin_transformer"), _ATTENTION),
    **dict.fromkeys(("mean_pool", "mean_std", "middle_frame"), _SOLVED),
}


def load(model: str | Path, *, backbone: str | Path | None = None, device: str | None = None) -> "Model":
    """Load a trained model.

    >>> actionrec.load("data/models/gru").predict("clip.mp4").label  # doctest: +SKIP
    'Biking'

    Args:
        model: a bundle's folder, or the name of a model in data/models.
        backbone: the file of the backbone's weights, if the bundle does not contain them and they are not found by name.
        device: as torch names it; the default is ACTIONREC_DEVICE, else a GPU if there is one, else the CPU.

    Raises:
        DataError: there is no such bundle, or it is damaged.
        WeightsError: the weights of the model or of the backbone do not match the bundle.
    """
    file = None if backbone is None else Path(backbone)
    return Model(load_predictor(find_bundle(str(model)), backbone_file=file, device=device))


class Model:
    """A trained model that predicts videos; see `load`. Use it from one thread at a time."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    @property
    def name(self) -> str:
        """The name of the bundle's folder."""
        return self._predictor.name

    @property
    def class_names(self) -> list[str]:
        """The K classes."""
        return list(self._predictor.class_names)

    @property
    def features_source(self) -> dict[str, Any]:
        """How `features` computes features: backbone, weights, sampling of frames; see `SequenceModel.save`."""
        return dict(self._predictor.bundle.features)

    def predict(self, video: str | Path) -> Prediction:
        """Predict one clip: `label`, `confidence`, `top(3)`, `probabilities`, ...

        Raises:
            DataError: there is no such file.
            VideoError: it cannot be decoded.
        """
        return self._predictor.predict(Path(video))

    def timeline(self, video: str | Path, *, window: float | None = None, stride: float | None = None) -> list[Segment]:
        """Predict a long video in windows, and merge neighbouring windows with the same answer.

        Args:
            video: the file.
            window: seconds of a window; the default is the median length of the model's training clips, as far as it is known.
            stride: seconds from window to window; the default is half a window.

        Returns:
            Runs with `start` and `end` in seconds, `answer` and `confidence`; together they cover the video.

        Raises:
            DataError: there is no such file, or a window has too many frames.
            VideoError: it cannot be decoded.
        """
        check_file(Path(video))
        window = self._predictor.default_window if window is None else window
        try:
            with open_video(Path(video)) as opened:
                frames = timed_frames(opened, self._predictor.sampling.resolution, self._predictor.sampling.fit)
                return timeline.segments(list(timeline.moments(self._predictor, frames, window, stride or window / 2)))
        except VideoError as error:
            raise VideoError(f"{video}: {str(error).removeprefix(f'{video}: ').removesuffix('.')}.") from None

    def explain(self, video: str | Path, label: str | None = None) -> Explanation:
        """Explain a clip's prediction: which frames mattered, and where in them.

        Args:
            video: the file.
            label: the class to explain; the default is the most probable one.

        Raises:
            DataError: there is no such file.
            VideoError: it cannot be decoded.
            ValueError: there is no such class.
        """
        if label is not None and label not in self.class_names:
            raise ValueError(f"label: no such class; got {label!r}, expected one of {', '.join(self.class_names)}.")
        return explanation.explain(self._predictor, self._predictor.sample(Path(video)), label)

    def features(self, video: str | Path) -> NDArray[np.float16]:
        """Compute a clip's features, (T, D).

        Raises:
            DataError: there is no such file.
            VideoError: it cannot be decoded.
        """
        return self._predictor.extractor(self._predictor.sample(Path(video)).pictures)


@dataclass(frozen=True)
class SequenceModel:
    """A model that was trained on arrays of features; see `train`."""

    bundle: Bundle
    """The network, its classes and its calibration."""
    epochs: list[loop.Epoch]
    """Losses and accuracies of each epoch."""
    best_epoch: int
    """The number of the epoch, from 1, whose weights were kept."""

    @property
    def class_names(self) -> list[str]:
        """The K classes."""
        return list(self.bundle.architecture.class_names)

    def probabilities(self, features: ArrayLike) -> NDArray[np.float64]:
        """Map features (n, T, D) to calibrated probabilities (n, K)."""
        array = _checked(features, self.bundle.architecture.feature_dim)
        logits = loop.predict(self.bundle.network, array, np.arange(len(array)))
        return calibration.softmax(logits, (self.bundle.calibration or {}).get("temperature", 1.0))

    def predict(self, features: ArrayLike) -> list[str]:
        """Map features (n, T, D) to the n most probable classes."""
        names = self.bundle.architecture.class_names
        return [names[place] for place in self.probabilities(features).argmax(axis=1)]

    def save(self, folder: str | Path, features_source: Mapping[str, Any]) -> None:
        """Save the model as a bundle, which `load` and `actionrec predict --model` can use.

        Args:
            folder: must not exist yet.
            features_source: how the features were computed: `Model.features_source` of the model that computed them.

        Raises:
            DataError: the folder exists.
        """
        save_new_bundle(Path(folder), replace(self.bundle, features=dict(features_source)))


def train(
    features: ArrayLike,
    labels: Sequence[str],
    *,
    model: str = "gru",
    validation: float | Sequence[int] = 0.2,
    seed: int = 0,
    device: str | None = None,
    **options: Any,
) -> SequenceModel:
    """Train a sequence model on features; keep the epoch that is best on validation clips. Linear probes are solved exactly.

    Args:
        features: (n, T, D), such as `Model.features` of n clips.
        labels: the n class names.
        model: a folder of data/models, such as gru, bilstm or transformer.
        validation: the share of each class to hold out, drawn at random; or the rows to hold out. Pass rows if several clips come
            from the same video: they should all be held out, or none.
        seed: for the initial weights, the order of clips, dropout and the validation clips.
        device: see `load`.
        **options: settings of the training or of the model, as in params.yaml, such as `epochs=40, hidden_dim=256`.

    Raises:
        TypeError: there is no such option.
        ValueError: shapes do not fit, an option is out of range, or there is no validation clip.
        TrainingError: the loss is not finite in the first epoch, or the GPU is out of memory.
    """
    array = _checked(features)
    recipe = _recipe(model, options, seed)
    names = sorted(set(labels))
    places = np.array([names.index(label) for label in labels], dtype=np.int64)
    if len(places) != len(array):
        raise ValueError(f"labels: need one per clip; got {len(places)}, expected {len(array)}.")
    held_out = _validation_rows(places, validation, seed)
    rows = {"train": np.setdiff1d(np.arange(len(array)), held_out), "val": held_out, "test": np.array([], dtype=np.int64)}
    if len(np.unique(places[rows["train"]])) < len(names):
        raise ValueError("validation: each class needs a training clip. Hold out fewer clips.")
    clips = FeatureSet([str(row) for row in range(len(array))], array, {})
    data = TrainingData(places, names, np.arange(len(array)), rows, clips)
    architecture = Architecture(model, recipe.arguments, array.shape[2], names)
    device = device or machine.device()
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            run = seed_runs.run(data, architecture, recipe, 0, device, lambda _: None)
            fitted = record.calibrate(seed_runs.predictions([run], run, data, 0, device))
    finally:
        torch.set_num_threads(threads)
    return SequenceModel(Bundle(architecture, run.network.cpu().eval(), {}, fitted), run.fit.epochs, run.fit.best_epoch)


def _checked(features: ArrayLike, feature_dim: int | None = None) -> NDArray[Any]:
    """Features as an array (n, T, D) of floats."""
    array = np.asarray(features)
    if array.ndim != 3 or not array.size or feature_dim not in (None, array.shape[2]):
        raise ValueError(f"features: wrong shape; got {array.shape}, expected (clips, frames, {feature_dim or 'features'}).")
    return array if array.dtype in (np.float16, np.float32) else array.astype(np.float32)


def _recipe(model: str, options: Mapping[str, Any], seed: int) -> Recipe:
    """Split options into the training's settings and the model's arguments, and add the defaults."""
    if model not in MODELS:
        raise ValueError(f"model: no such model; got {model!r}, expected one of {', '.join(MODELS)}.")
    trained, built = [field.name for field in fields(TrainSettings) if field.name != "seeds"], model_keys(model)
    solved = issubclass(model_class(model), LinearProbe)
    known = [*(name for name in trained if not (solved and name in logistic_regression.UNUSED)), *built]
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(f"{model}: no such options: {', '.join(unknown)}; expected some of {', '.join(known)}.")
    values = {**_TRAIN, **_MODEL, **_OWN.get(model, {}), **options}
    settings = TrainSettings(**{name: values[name] for name in trained}, seeds=[0])
    return Recipe(seed, settings, {name: values[name] for name in built if name in values}, solved)


def _validation_rows(places: NDArray[np.int64], validation: float | Sequence[int], seed: int) -> NDArray[np.int64]:
    """The rows to hold out, sorted; a share is rounded, and is at least one clip of each class that has two."""
    if isinstance(validation, int | float):
        if not 0 < validation < 1:
            raise ValueError(f"validation: share out of range; got {validation}, expected above 0 and below 1.")
        random = np.random.default_rng(seed)
        chosen = []
        for place in np.unique(places):
            rows = random.permutation(np.flatnonzero(places == place))
            chosen.append(rows[: min(len(rows) - 1, max(1, round(validation * len(rows))))])
        held_out = np.sort(np.concatenate(chosen))
    else:
        held_out = np.unique(np.asarray(validation, dtype=np.int64))
    if not len(held_out) or held_out[0] < 0 or held_out[-1] >= len(places):
        raise ValueError(f"validation: rows must be from 0 to {len(places) - 1}, at least one; got {held_out.tolist()}.")
    return held_out
