"""Runs a backbone over the frames of clips, the fastest way that a machine has: OpenVINO on a CPU, torch on a GPU.

Which one runs is the machine's choice (ACTIONREC_DEVICE; ACTIONREC_RUNTIME, `openvino` or `torch`, on a CPU). Their features agree
to rounding; on one machine with one choice they are the same to the last bit, whatever the number of processes.
"""

import copy
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

BATCH = 32
"""Frames at a time: a clip's own, never another's, so that a clip's features do not depend on its neighbours."""

_CLIPS_AHEAD = 2  # on a GPU: on their way to it, or in its network, while a clip's features come back

Runner = Callable[[NDArray[np.uint8]], Callable[[], NDArray[np.float32]]]
"""Starts on frames (B, H, W, 3), and returns what waits for their features (B, D)."""


class Extractor:
    """Turns the frames of clips (T, H, W, 3), uint8, RGB, into their features (T, D), float16."""

    def __init__(self, run: Runner, clips_ahead: int) -> None:
        self._run, self._clips_ahead = run, clips_ahead

    def __call__(self, frames: NDArray[np.uint8]) -> NDArray[np.float16]:
        """The features of one clip."""
        return next(self.each([frames]))

    def each(self, clips: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float16]]:
        """The features of each clip, in their order; a GPU works on the next clips meanwhile.

        Raises:
            WeightsError: features are not finite, or beyond float16.
        """
        begun: deque[list[Callable[[], NDArray[np.float32]]]] = deque()
        for frames in clips:
            begun.append([self._run(frames[start : start + BATCH]) for start in range(0, len(frames), BATCH)])
            if len(begun) > self._clips_ahead:
                yield _finish(begun.popleft())
        while begun:
            yield _finish(begun.popleft())


def _finish(waiting: Sequence[Callable[[], NDArray[np.float32]]]) -> NDArray[np.float16]:
    features = np.concatenate([wait() for wait in waiting])
    if not np.isfinite(features).all() or np.abs(features).max() > np.finfo(np.float16).max:
        raise WeightsError(
            "the backbone gives features that are not finite, or beyond float16's 65504. "
            "Check features.weights, or try features.precision fp32."
        )
    return features.astype(np.float16)


def runtime(device: str) -> str:
    """What runs the backbone here: `openvino` or `torch`.

    Raises:
        ActionrecError: ACTIONREC_RUNTIME names neither, or one that is not there.
    """
    wanted = os.environ.get("ACTIONREC_RUNTIME", "")
    if wanted not in ("", "openvino", "torch"):
        raise ActionrecError(f"ACTIONREC_RUNTIME must be openvino or torch; got {wanted!r}")
    if device != "cpu":
        return "torch"
    if find_spec("openvino") is None:
        if wanted == "openvino":
            raise ActionrecError("ACTIONREC_RUNTIME is openvino, which is not installed here.")
        return "torch"
    return wanted or "openvino"


def create_extractor(backbone: Backbone, *, precision: str, size: int, device: str, threads: int) -> Extractor:
    """Prepare a backbone for clips of `size` x `size` frames.

    Args:
        precision: `fp32` or `bf16`.
        device: as torch names it.
        threads: of a CPU.

    Raises:
        ParamsError: the backbone does not take frames of this size.
    """
    try:
        with torch.inference_mode():
            backbone(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ParamsError(f"params.yaml: this features.backbone does not take frames.resolution {size} ({reason}).") from None
    chosen = runtime(device)
    run = _openvino(backbone, precision, size, threads) if chosen == "openvino" else _torch(backbone, precision, device)
    return Extractor(run, _CLIPS_AHEAD if device.startswith("cuda") else 0)


def _openvino(backbone: Backbone, precision: str, size: int, threads: int) -> Runner:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report usage; OpenVINO does without
    import openvino  # here, since it takes a second, and a GPU does without

    example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the tracing that OpenVINO does deprecated
        model = openvino.convert_model(backbone, example_input=example, input=[-1, size, size, 3])
    options = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # each process would pin itself to the first core
        "EXECUTION_MODE_HINT": "PERFORMANCE" if precision == "bf16" else "ACCURACY",
    }
    compiled = openvino.Core().compile_model(model, "CPU", options)
    return lambda frames: _done(np.array(compiled([frames])[0], dtype=np.float32))


def _torch(backbone: Backbone, precision: str, device: str) -> Runner:
    network = copy.deepcopy(backbone)
    network = (network.in_bf16() if precision == "bf16" else network).to(device).to(memory_format=torch.channels_last)
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32: a GPU's default rounds convolutions to 10 bits

    def run_here(frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        with torch.inference_mode():
            return _done(network(torch.from_numpy(np.ascontiguousarray(frames))).float().numpy())

    def run_on_gpu(frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        # Nothing here waits for the GPU: both copies are from and to pinned memory, and the event tells when the second is done.
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(frames)).pin_memory().to(device, non_blocking=True)
            features = network(batch).float()
            fetched = torch.empty(features.shape, dtype=torch.float32, pin_memory=True)
            fetched.copy_(features, non_blocking=True)
            done = torch.cuda.Event()
            done.record(torch.cuda.current_stream(device))

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            return fetched.numpy()

        return wait

    return run_on_gpu if device.startswith("cuda") else run_here


def _done(features: NDArray[np.float32]) -> Callable[[], NDArray[np.float32]]:
    return lambda: features
