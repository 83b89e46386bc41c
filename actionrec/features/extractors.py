"""Feature extraction: run a backbone over the frames or snippets of clips, with OpenVINO on a CPU or torch on a GPU.

The environment variables ACTIONREC_DEVICE and, on a CPU, ACTIONREC_RUNTIME (`openvino` or `torch`) choose the runtime. The features
of both agree to rounding. On one machine with one runtime they are identical, for any number of processes.
"""

import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray

from actionrec.core.errors import ActionrecError, ParamsError, WeightsError
from actionrec.features.backbones import Backbone
from actionrec.features.folded_batch_norms import with_folded_batch_norms
from actionrec.features.gpu_runner import GpuRunner, pinned_frames
from actionrec.features.settings import RGB_ONLY
from actionrec.features.streams import pictures_of
from actionrec.io.network_copy import copied
from actionrec.video.frame_store import Empty, in_memory

BATCH = 32
"""Frames per batch; a video network gets whole snippets, at least one. A batch never mixes clips, so that a clip's features do not
depend on other clips."""

_GPU_BATCH = 128
"""Frames per batch of a video network on a GPU."""

_CLIPS_AHEAD = 8
"""Clips that a GPU has got while Python waits for an earlier clip's features. A clip of 32 frames may take it 3 ms, and Python
sometimes needs longer between two, for example when a shard is written."""

_VIDEO_CLIPS_AHEAD = 2
"""The same for a video network, which needs far longer for a clip, and far more memory."""

Runner = Callable[[NDArray[np.uint8]], Callable[[], NDArray[np.float32]]]
"""Starts to process frames (B, H, W, 3); returns a function that waits for their features (B, D)."""


class Extractor:
    """Turns the frames of clips (T, H, W, 3), uint8, RGB, into their features (T, D), float16; streams are side by side.

    Snippets of L frames are (T, L, H, W, 3). A video network turns each into a feature. An image network turns each frame into a
    feature, and the feature of a snippet is their mean.
    """

    def __init__(
        self, run: Runner, clips_ahead: int, streams: Sequence[str] = RGB_ONLY, batch: int = BATCH, empty: Empty = in_memory
    ) -> None:
        """Args: `batch` is the number of frames that `run` gets at a time."""
        self.empty = empty
        """Makes arrays for frames, from which they are copied to a GPU without help. Other arrays serve, too."""
        self._run, self._clips_ahead, self._streams, self._batch = run, clips_ahead, streams, batch

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Compute the features of one clip."""
        return next(self.each([frames]))

    def each(self, clips: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float16]]:
        """Yield the features of each clip, in order. A GPU processes the next clips in the meantime.

        Raises:
            WeightsError: features are not finite, or too large for float16.
            Exception: what reading the clips raises, after the features of those before.
        """
        pending: deque[tuple[int, list[list[Callable[[], NDArray[np.float32]]]]]] = deque()
        reading = iter(clips)
        failed: Exception | None = None
        while True:
            try:
                frames = next(reading)
            except StopIteration:
                break
            except Exception as error:
                failed = error
                break
            pending.append((len(frames), [self._start(pictures_of(frames, stream)) for stream in self._streams]))
            if len(pending) > self._clips_ahead:
                yield _finish(*pending.popleft())
        while pending:
            yield _finish(*pending.popleft())
        if failed is not None:
            raise failed

    def _start(self, pictures: NDArray[np.uint8]) -> list[Callable[[], NDArray[np.float32]]]:
        frames = pictures.reshape(-1, *pictures.shape[-3:])
        return [self._run(frames[start : start + self._batch]) for start in range(0, len(frames), self._batch)]


def _finish(steps: int, streams: Sequence[Sequence[Callable[[], NDArray[np.float32]]]]) -> NDArray[np.float16]:
    """Wait for a clip's features, and put those of its streams side by side: (T, D), for T steps."""
    features = np.concatenate([np.concatenate([wait() for wait in waiting]) for waiting in streams], axis=1)
    if len(features) != steps:  # an image network and snippets
        features = features.reshape(steps, -1, features.shape[1]).mean(axis=1)
    if not np.abs(features).max() <= np.finfo(np.float16).max:  # which is also so for a maximum that is not a number
        raise WeightsError(
            "the backbone gives features that are not finite, or larger than float16 can store (65504). "
            "Check features.weights, or try features.precision fp32."
        )
    return np.asarray(torch.from_numpy(features).half().numpy())  # rounds as NumPy does, in a tenth of the time


def runtime(device: str) -> str:
    """The runtime for the backbone on this machine: `openvino` or `torch`.

    Raises:
        ActionrecError: ACTIONREC_RUNTIME is neither, or is not installed.
    """
    requested = os.environ.get("ACTIONREC_RUNTIME", "")
    if requested not in ("", "openvino", "torch"):
        raise ActionrecError(f"ACTIONREC_RUNTIME must be openvino or torch; got {requested!r}")
    if device != "cpu":
        return "torch"
    if find_spec("openvino") is None:
        if requested == "openvino":
            raise ActionrecError("ACTIONREC_RUNTIME is openvino, which is not installed. Install it, or set it to torch.")
        return "torch"
    return requested or "openvino"


def create_extractor(
    backbone: Backbone, *, precision: str, size: int, device: str, threads: int, streams: Sequence[str] = RGB_ONLY
) -> Extractor:
    """Prepare a backbone for clips of `size` x `size` frames, or of snippets of its `snippet_length` such frames.

    Args:
        precision: `fp32` or `bf16`.
        device: torch's name of it.
        threads: CPU threads.
        streams: names, in the order of their features.

    Raises:
        ParamsError: the backbone does not take frames of this size, or snippets of this length.
    """
    _check_frames(backbone, size)
    run = (
        openvino_runner(backbone, precision, size, threads)
        if runtime(device) == "openvino"
        else _torch(backbone, precision, size, device)
    )
    on_gpu, of_video = device.startswith("cuda"), backbone.limits is not None
    clips_ahead = (_VIDEO_CLIPS_AHEAD if of_video else _CLIPS_AHEAD) if on_gpu else 0
    empty = pinned_frames if on_gpu and not of_video and "rgb" in streams else in_memory
    return Extractor(run, clips_ahead, streams, batch_frames(backbone, on_gpu), empty)


def batch_frames(backbone: Backbone, on_gpu: bool) -> int:
    """Frames that a backbone gets at a time: for a video network, a multiple of its snippet's length."""
    if backbone.limits is None:
        return BATCH
    length = backbone.snippet_length
    return length * max(1, (_GPU_BATCH if on_gpu else BATCH) // length)


def feature_dim(backbone: Backbone, size: int) -> int:
    """The number of features (D) that a backbone gives for a frame of `size` x `size`, or for a snippet of such frames.

    Raises:
        RuntimeError, AssertionError: the network does not accept such frames.
    """
    shape = (backbone.snippet_length, size, size, 3)
    try:
        # Shapes are enough for nearly all networks, and values may need 280 billion multiplications.
        with torch.inference_mode():
            features = copied(backbone, "meta")(torch.empty(shape, dtype=torch.uint8, device="meta"))
    except Exception:  # a network may do anything with its tensors
        if backbone.limits is not None:
            raise
        with torch.inference_mode():
            features = backbone(torch.zeros(shape, dtype=torch.uint8, device=backbone.mean.device))
    return int(features.shape[1])


def _check_frames(backbone: Backbone, size: int) -> None:
    length = backbone.snippet_length
    if backbone.limits is not None and (problems := backbone.limits.problems(size, length)):
        raise ParamsError("\n".join(f"params.yaml: {problem}" for problem in problems.values()))
    try:
        feature_dim(backbone, size)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        and_length = "" if backbone.limits is None else f" with frames.snippet.length {length}"
        raise ParamsError(
            f"params.yaml: features.backbone does not accept frames.resolution {size}{and_length} ({reason}). Change one of them."
        ) from None


def openvino_runner(backbone: Backbone, precision: str, size: int, threads: int) -> Runner:
    """Compile a backbone for frames of `size` x `size`, for a fixed number of CPU threads."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report usage; OpenVINO works without it
    import openvino  # here: it takes a second, and a GPU does not need it
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros(backbone.snippet_length, size, size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO uses tracing, for which torch prints a deprecation warning
        # By default torch runs the network twice more and compares, which takes most of the time.
        traced = TorchScriptPythonDecoder(backbone, example_input=example, trace_kwargs={"check_trace": False})
        model = openvino.convert_model(traced, example_input=example, input=[-1, size, size, 3])
    options = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # else every process pins itself to the first core
        "EXECUTION_MODE_HINT": "PERFORMANCE" if precision == "bf16" else "ACCURACY",
    }
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return lambda frames: _done(np.array(compiled([frames])[0], dtype=np.float32))


def _torch(backbone: Backbone, precision: str, size: int, device: str) -> Runner:
    network = with_folded_batch_norms(backbone, size, device) if device.startswith("cuda") else copied(backbone, device)
    network = network.in_bf16() if precision == "bf16" else network  # weights are rounded after folding
    if backbone.limits is None:
        network.to(memory_format=torch.channels_last)
    else:
        network.network.to(memory_format=torch.channels_last_3d)
    torch.backends.cudnn.allow_tf32 = False  # by default, a GPU rounds fp32 convolutions to 10 bits

    def run_here(frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        with torch.inference_mode():
            return _done(network(torch.from_numpy(np.ascontiguousarray(frames))).float().numpy())

    return GpuRunner(network, device) if device.startswith("cuda") else run_here


def _done(features: NDArray[np.float32]) -> Callable[[], NDArray[np.float32]]:
    return lambda: features
