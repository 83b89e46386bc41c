"""Predictor: from a video file to class probabilities, configured only by a model's bundle.

T frames, D features a frame, K classes. Frames are stored as in training: if training used JPEGs, frames are JPEG-compressed
here as well.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from actionrec.core import paths
from actionrec.core.errors import ActionrecError, DataError, ParamsError, VideoError, WeightsError
from actionrec.core.text import first_few
from actionrec.data.clips import SUFFIXES
from actionrec.evaluation import calibration
from actionrec.features import backbones, extractors, state_dicts, tuned_backbone
from actionrec.features.backbones import Backbone, FeatureSettings
from actionrec.features.extractors import Extractor
from actionrec.features.settings import TUNED, streams_of
from actionrec.features.tuned_backbone import TunedBackbone
from actionrec.inference import clip_frames
from actionrec.inference.default_window import default_window
from actionrec.io import machine
from actionrec.io.files import read_json
from actionrec.io.tar_member import ClipFile
from actionrec.training import loop
from actionrec.training.bundle import Bundle, load_bundle
from actionrec.video.frame_settings import Sampling
from actionrec.video.sampling import SampledClip

logger = logging.getLogger(__name__)

File = TypeVar("File", bound=ClipFile)

BACKBONE = tuned_backbone.WEIGHTS
"""File of the backbone's weights in a bundle that includes them."""

_AHEAD = 2  # clips that each decoding thread decodes ahead of the network


@dataclass(frozen=True)
class Reading:
    """How much of a clip's file could be read."""

    frames_read: int
    padded: int
    """Repeated frames, because the clip has fewer than the model takes."""
    warning: str
    """What is damaged; empty if no damage is known."""


@dataclass(frozen=True)
class Prediction:
    """A model's class probabilities for one clip."""

    class_names: Sequence[str]
    probabilities: NDArray[np.float64]
    """(K,), calibrated if the bundle is."""
    threshold: float
    """The top probability below which the answer is unsure; 0 if the bundle has no threshold."""
    reading: Reading | None = None
    """Of the clip's file; None for a window of a long video."""

    @property
    def order(self) -> list[int]:
        """Classes from the most to the least probable; ties in the order of classes, as in the metrics."""
        return np.argsort(-self.probabilities, kind="stable").tolist()

    @property
    def label(self) -> str:
        """The most probable class, whatever its probability."""
        return self.class_names[self.order[0]]

    @property
    def confidence(self) -> float:
        """The most probable class's probability."""
        return float(self.probabilities.max())

    @property
    def none_of_these(self) -> bool:
        """Whether the answer is unsure: the video may show none of the classes."""
        return self.confidence < self.threshold

    @property
    def headline(self) -> str:
        """The answer for people: `Rise`, or `not sure: Rise, 67 %` if it is unsure."""
        return headline(self.label, self.confidence, self.none_of_these)

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` most probable classes and their probabilities."""
        return [(self.class_names[place], float(self.probabilities[place])) for place in self.order[:count]]


def headline(label: str, confidence: float, unsure: bool) -> str:
    """Format an answer for people.
    >>> headline("Rise", 0.674, unsure=True), headline("Rise", 0.97, unsure=False)
    ('not sure: Rise, 67 %', 'Rise')
    """
    return f"not sure: {label}, {'>99' if 0.995 <= confidence < 1 else f'{100 * confidence:.0f}'} %" if unsure else label


class Predictor:
    """A bundle with its backbone, ready to predict. Not thread-safe."""

    def __init__(self, name: str, bundle: Bundle, backbone: Backbone, device: str) -> None:
        """Combine a bundle with the backbone of its features.

        Raises:
            WeightsError: the backbone cannot process the bundle's frames, or the size of its features differs from the model's.
        """
        self.name, self.bundle, self.backbone, self.device = name, bundle, backbone, device
        self.sampling, self.streams = sampling(bundle), streams_of(bundle.features)
        self.network = bundle.network.to(device).eval()
        self.class_names = bundle.architecture.class_names
        self.temperature, self.threshold = temperature_and_threshold(bundle)
        size = self.sampling.resolution
        try:
            width = extractors.feature_dim(backbone, size) * len(self.streams)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).split("\n", 1)[0]
            raise WeightsError(
                f"{name}: {bundle.features['backbone']} cannot process frames of {size} x {size} ({reason})."
            ) from None
        if width != bundle.architecture.feature_dim:
            raise WeightsError(
                f"{name}: {bundle.features['backbone']} gives {width} features a frame, but the model takes "
                f"{bundle.architecture.feature_dim}. The bundle's description and weights do not belong together."
            )

    @property
    def default_window(self) -> float:
        """Seconds of a timeline's window, if none is named."""
        return default_window(self.bundle.clip_seconds, self.sampling.snippet)

    @cached_property
    def extractor(self) -> Extractor:
        """The fastest extractor on this machine, using all cores."""
        return extractors.create_extractor(
            self.backbone,
            precision=self.bundle.features["precision"],
            size=self.sampling.resolution,
            device=self.device,
            threads=machine.workers(),
            streams=self.streams,
        )

    def sample(self, path: ClipFile) -> SampledClip:
        """Decode a clip's frames, as they are after the compression of the frame store.

        Raises:
            DataError: no such file.
            VideoError: it cannot be decoded.
        """
        check_file(path)
        try:
            return clip_frames.read(path, self.sampling)
        except VideoError as error:
            raise VideoError(f"{path}: {error}.") from None

    def stored(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Frames (..., size, size, 3), RGB, after the compression of the frame store."""
        return clip_frames.stored(pictures, self.sampling)

    def logits(self, features: NDArray[np.float16]) -> NDArray[np.float32]:
        """Map one clip's features (T, D) to logits (K,)."""
        before = torch.get_num_threads()
        torch.set_num_threads(machine.TRAINING_THREADS)
        try:
            return loop.predict(self.network, features[None], np.array([0]))[0]
        finally:
            torch.set_num_threads(before)

    def answer(self, features: NDArray[np.float16]) -> Prediction:
        """Predict from one clip's features (T, D)."""
        logits = self.logits(features)
        if not np.isfinite(logits).all():
            raise WeightsError(
                f"{self.name}: the model's output is NaN or infinite, because its weights are too large. Train it again."
            )
        shares = calibration.softmax(logits[None], self.temperature)[0]
        return Prediction(self.class_names, shares, self.threshold)

    def predict(self, path: Path) -> Prediction:
        """Predict one clip.

        Raises:
            DataError, VideoError: see `sample`.
        """
        clip = self.sample(path)
        return replace(self.answer(self.extractor(clip.pictures)), reading=reading(clip))

    def features_of_all(self, clips: Sequence[File]) -> Iterator[tuple[File, tuple[NDArray[np.float16], Reading] | ActionrecError]]:
        """Yield each clip's features (T, D), or the error, in order; decoding runs ahead of the network."""
        for path, decoded in _ahead(self.sample, clips, machine.workers()):
            try:
                clip = decoded()
                yield path, (self.extractor(clip.pictures), reading(clip))
            except (DataError, VideoError) as error:
                yield path, error

    def predict_all(self, clips: Sequence[File]) -> Iterator[tuple[File, Prediction | ActionrecError]]:
        """Yield each clip's prediction, or the error, in order."""
        for path, result in self.features_of_all(clips):
            yield path, result if isinstance(result, ActionrecError) else replace(self.answer(result[0]), reading=result[1])


def reading(clip: SampledClip) -> Reading:
    """How much of a clip's file could be read."""
    return Reading(clip.decoded_frames, clip.padded, clip.warning)


def load(folder: Path, *, backbone_file: Path | None = None, device: str | None = None) -> Predictor:
    """Load a bundle for prediction.

    Args:
        backbone_file: the backbone's weights; default: see `read_backbone`.
        device: torch's name of the device; default: `machine.device()`.

    Raises:
        DataError: the bundle is missing or damaged.
        WeightsError: the model or the backbone has other weights than the bundle was made with.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such model. {_there_are(folder)}")
    bundle = load_bundle(folder)
    return Predictor(folder.resolve().name, bundle, read_backbone(folder, bundle, backbone_file), device or machine.device())


def _there_are(folder: Path) -> str:
    trained = sorted(one.name for one in folder.parent.glob("*") if (one / "model.json").is_file())
    return f"There are {first_few(trained, 10)}." if trained else "Run `dvc repro` to train one, or name a bundle's folder."


def find_bundle(name: str | None) -> Path:
    """The folder of a bundle.

    Args:
        name: a model's name or a path; None for the best model of the comparison.

    Raises:
        DataError: the best model is unknown.
    """
    if name is None:
        if not paths.COMPARISON.is_file():
            raise DataError(
                f"{paths.COMPARISON} is missing, so the best model is unknown. Run `dvc repro`, or name a model with --model."
            )
        compared = read_json(paths.COMPARISON)
        name = compared.get("best") if isinstance(compared, dict) else None
        if not isinstance(name, str):
            raise DataError(f"{paths.COMPARISON} does not say which model is the best. Run `dvc repro -f compare`.")
    return Path(name) if "/" in name or Path(name).is_dir() else paths.model_folder(name)


def check_file(path: ClipFile) -> None:
    """Check that a path is a regular file, because reading from a pipe could block forever.

    Raises:
        DataError: it is missing, or not a regular file.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file.")
    if not path.is_file():
        raise DataError(f"{path} is {'a folder' if path.is_dir() else 'not a regular file'}; expected a video file.")


def sampling(bundle: Bundle) -> Sampling:
    """How a bundle's frames are sampled."""
    return Sampling.of(bundle.features["frames"])


def temperature_and_threshold(bundle: Bundle) -> tuple[float, float]:
    """A bundle's temperature and threshold; 1 and 0 if it is not calibrated."""
    fitted = bundle.calibration or {}
    return fitted.get("temperature", 1.0), fitted.get("threshold", 0.0)


def read_backbone(folder: Path, bundle: Bundle, file: Path | None = None) -> Backbone:
    """Build a bundle's backbone, and check that its weights are those that the bundle was made with.

    The weights come from `file`; else from the bundle's folder; else from a seed or torchvision, if their name says so. A tuned
    backbone is otherwise in the folder `backbone` beside the bundles' folder, where the stage `finetune` writes it. Other weights
    are in the file in params.yaml's features.weights, if it has the same name.

    Raises:
        DataError: torchvision has no such backbone.
        WeightsError: the weights are missing, or are not those of the bundle.
    """
    about = bundle.features
    backbone, named, precision, expected = (about[key] for key in ("backbone", "weights", "precision", "weights_sha256"))
    settings, snippet_length = FeatureSettings(backbone, named, precision), sampling(bundle).snippet.length
    tuned = None
    if named == backbones.RANDOM:  # drawn from a seed, and scaled, unlike those in a file
        if file is not None:
            raise WeightsError(f"{folder} was trained on random weights, which come from a seed. Omit --backbone.")
    elif named == TUNED:
        tuned = _tuned(folder, bundle, file)
        settings = FeatureSettings(backbone, str(tuned.weights), precision)
    elif file is not None:
        settings = FeatureSettings(backbone, os.path.abspath(file), precision)  # noqa: PTH100
    elif (folder / BACKBONE).is_file():
        settings = FeatureSettings(backbone, str(folder / BACKBONE), precision)
    elif settings.is_file:
        settings = FeatureSettings(backbone, str(_named_in_params(folder, named)), precision)
    try:
        built = backbones.create_backbone(settings, snippet_length, tuned)
    except ParamsError:  # its message is about params.yaml, which is not used here
        raise DataError(f"{folder} needs the backbone {backbone!r}, which the installed torchvision does not have.") from None
    if expected is None and settings.is_file:
        raise WeightsError(
            f"{folder} does not contain the hash of its backbone's weights, so {settings.weights} cannot be checked."
        )
    if expected is not None and (got := state_dicts.state_sha256(built.network)) != expected:
        raise WeightsError(
            f"{folder} was trained on features of {backbone} with other weights than {settings.weights}: got SHA-256 {got[:12]}…, "
            f"expected {expected[:12]}…. Name the right file with --backbone, or train again: `dvc repro`."
        )
    return built


def _tuned(folder: Path, bundle: Bundle, file: Path | None) -> TunedBackbone:
    """The file of a tuned backbone, which a bundle includes or shares with the others of its project."""
    places = [file] if file else [folder / BACKBONE, folder.resolve().parent.parent / paths.BACKBONE.name / BACKBONE]
    weights = next((place for place in places if place.is_file()), None)
    tuning = tuned_backbone.tuning_of(bundle.features, [])
    if weights is None or tuning is None:
        raise WeightsError(
            f"{folder} was trained on a tuned backbone, whose weights are missing; expected {' or '.join(map(str, places))}. Copy "
            f"the project's {paths.BACKBONE / BACKBONE} into the bundle, or name it with --backbone."
        )
    return TunedBackbone(weights, "", tuning)


def _named_in_params(folder: Path, name: str) -> Path:
    try:
        configured: Any = read_weights_setting()
    except ActionrecError:
        configured = ""
    if Path(configured).name == name and Path(configured).is_file():
        return Path(configured)
    raise WeightsError(
        f"{folder} was trained with backbone weights from a file named {name}, which is missing. Name the file with --backbone or "
        f"as features.weights in params.yaml, or copy it into the bundle as {BACKBONE}."
    )


def read_weights_setting() -> str:
    """features.weights in params.yaml."""
    from actionrec.io import params  # imported here, because a bundle is also used without a project

    return str(params.load().get("features", {}).get("weights", ""))


def videos_in(arguments: Iterable[Path]) -> list[Path]:
    """Replace each folder by the videos in it at any depth, sorted; logs skipped files. Files stay as they are.

    Raises:
        DataError: a path is missing, or a folder has no videos.
    """
    paths_to_read: list[Path] = []
    for path in arguments:
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{path}: no such file or folder.")
            paths_to_read.append(path)
            continue
        inside = sorted(_inside(path, set()))
        videos = [one for one in inside if one.suffix.lower() in SUFFIXES and one.is_file()]
        skipped = [ascii(str(one))[1:-1] for one in inside if one not in set(videos)]
        if not videos:
            raise DataError(f"{path} has no videos; expected files named {', '.join(SUFFIXES)}.")
        if skipped:
            logger.warning("%s: skipped %d files that are not videos: %s", path, len(skipped), first_few(skipped))
        paths_to_read += videos
    return paths_to_read


def _inside(folder: Path, above: set[Path]) -> Iterator[Path]:
    """Yield files at any depth; follows links and skips hidden files, like `find_clips`.

    Args:
        above: resolved folders above this one, to stop at circular links.
    """
    real = folder.resolve()
    for entry in folder.iterdir() if real not in above else ():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _inside(entry, {*above, real})
        else:
            yield entry


def _ahead(
    work: Callable[[ClipFile], SampledClip], clips: Sequence[File], threads: int
) -> Iterator[tuple[File, Callable[[], SampledClip]]]:
    """Yield each clip with a function that waits for its frames, and decode the next clips meanwhile."""
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[tuple[File, Future[SampledClip]]] = deque()
        remaining = iter(clips)
        while True:
            while len(pending) < _AHEAD * threads and (path := next(remaining, None)) is not None:
                pending.append((path, pool.submit(work, path)))
            if not pending:
                return
            path, future = pending.popleft()
            yield path, future.result
