"""Explanations of a prediction: important frames of a clip, and important regions in them. T frames, D features, K classes.

Frames: each in turn is hidden from the sequence model (its features are replaced by the training clips' mean); the decrease of
the class's log-probability is its importance (occlusion, Zeiler and Fergus 2014, arXiv 1311.2901). Streams likewise: each in turn
is hidden in all frames. For attention models also the
weight of each frame in the average over time: the model's own, if it has a method `attention_over_time`, else by attention rollout
(Abnar and Zuidema 2020, arXiv 2005.00928). Regions: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) from the class's logit
through the sequence model to the backbone's last feature map.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.video import MViT

from actionrec.evaluation import calibration
from actionrec.features.streams import pictures_of
from actionrec.inference.predictor import Prediction, Predictor
from actionrec.training import loop
from actionrec.training.classifier import Classifier
from actionrec.video.sampling import SampledClip

_BATCH = 8  # frames at a time through the backbone, with gradients


@dataclass(frozen=True)
class Explanation:
    """Importance of frames and regions of one clip for one class."""

    prediction: Prediction
    label: str
    """The class that is explained."""
    indices: Sequence[int]
    """(T,), index in the clip of the frame at each sample point; of the middle one of a snippet."""
    importance: NDArray[np.float64]
    """(T,), decrease of the label's log-probability without the frame; below 0 for evidence against the label."""
    attention: NDArray[np.float64] | None
    """(T,), shares that sum to 1; None for models without attention."""
    heat: NDArray[np.float32] | None
    """(T, h, w), from 0 to 1, the maximum in the whole clip, all streams together; None for a backbone without a feature map."""
    streams: Mapping[str, float]
    """Decrease of the label's log-probability without each stream; empty if there is only one."""

    @property
    def stream_shares(self) -> dict[str, float]:
        """Share of each stream in the decreases, which sum to 1; an increase counts as 0. Empty if nothing decreases."""
        decreases = {name: max(0.0, decrease) for name, decrease in self.streams.items()}
        total = sum(decreases.values())
        return {name: decrease / total for name, decrease in decreases.items()} if total else {}


def explain(predictor: Predictor, clip: SampledClip, label: str | None = None) -> Explanation:
    """Explain a class's probability for a clip that `predictor.sample` decoded.

    Args:
        label: default: the most probable class.
    """
    features = predictor.extractor(clip.pictures)
    prediction = predictor.answer(features)
    label = label or prediction.label
    place = list(predictor.class_names).index(label)
    importance = occlusion(predictor, features, place)
    return Explanation(
        prediction,
        label,
        clip.shown[1],
        importance,
        attention(predictor.network, features),
        grad_cam(predictor, clip.pictures, place),
        stream_importance(predictor, features, place),
    )


def hide(
    network: Classifier, features: NDArray[np.float16], frames: Sequence[int], columns: slice = slice(None)
) -> NDArray[np.float16]:
    """Hide some frames of a clip (T, D) from its model: replace their features by the mean over the training clips.

    A model without a standardiser, such as the study's, does not know that mean; the clip's own mean replaces it.

    Args:
        columns: the features to hide; default: all.
    """
    mean = network.standardise.mean
    neutral = mean.cpu().numpy() if mean.any() else features.astype(np.float32).mean(axis=0)
    hidden = features.copy()
    hidden[list(frames), columns] = neutral.astype(np.float16)[columns]
    return hidden


def occlusion(predictor: Predictor, features: NDArray[np.float16], place: int) -> NDArray[np.float64]:
    """The importance of each frame to class number `place`: (T, D) -> (T,)."""
    return _decreases(predictor, features, [hide(predictor.network, features, [frame]) for frame in range(len(features))], place)


def stream_importance(predictor: Predictor, features: NDArray[np.float16], place: int) -> dict[str, float]:
    """The importance of each stream of the features (T, D) to class number `place`; empty if there is only one."""
    names = predictor.streams
    if len(names) == 1:
        return {}
    width, every = features.shape[1] // len(names), range(len(features))
    columns = [slice(first, first + width) for first in range(0, features.shape[1], width)]
    hidden = [hide(predictor.network, features, every, part) for part in columns]
    return dict(zip(names, _decreases(predictor, features, hidden, place).tolist(), strict=True))


def _decreases(
    predictor: Predictor, features: NDArray[np.float16], hidden: Sequence[NDArray[np.float16]], place: int
) -> NDArray[np.float64]:
    """Decrease of the log-probability of class number `place` from a clip's features (T, D) to each version of them."""
    logits = loop.predict(predictor.network, np.stack([features, *hidden]), np.arange(len(hidden) + 1))
    shares = calibration.softmax(logits, predictor.temperature)[:, place]
    log = np.log(np.maximum(shares, 1e-300))
    difference: NDArray[np.float64] = log[0] - log[1:]
    return difference


def attention(network: Classifier, features: NDArray[np.float16]) -> NDArray[np.float64] | None:
    """Share of each frame in the average over time that feeds a model's output: (T, D) -> (T,), sums to 1.

    A model with a method `attention_over_time`, (B, T, D) to (B, T), states it. Of the others it is rolled out over their layers.

    Returns:
        None for models without attention.
    """
    clip = torch.from_numpy(features[None]).float().to(network.standardise.mean.device)
    own = getattr(network.model, "attention_over_time", None)
    if own is None:
        return _rollout(network, clip)
    with torch.no_grad():
        network.eval()
        weights: Tensor = own(network.standardise(clip))
        return weights[0].double().cpu().numpy()


def _rollout(network: Classifier, clip: Tensor) -> NDArray[np.float64] | None:
    """Attention rollout over all layers of a model for a clip (1, T, D): (T,), or None without attention layers."""
    steps: list[Tensor] = []
    hooks: list[Any] = []
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            hooks.append(module.register_forward_pre_hook(_ask_for_weights, with_kwargs=True))
            hooks.append(module.register_forward_hook(lambda _, __, output: steps.append(output[1][0].detach())))
        elif callable(getattr(module, "weights", None)):  # the windows of Swin
            hooks.append(module.register_forward_pre_hook(partial(_note_windows, steps)))
        elif hasattr(module, "reduce"):  # Swin's merging of neighbouring frames
            hooks.append(module.register_forward_pre_hook(partial(_note_merging, steps)))
    if not hooks:
        return None
    try:
        with torch.no_grad(), _slow_path():
            network.eval()(clip)
    finally:
        for hook in hooks:
            hook.remove()
    flow = torch.eye(clip.shape[1], device=clip.device)
    for step in steps:
        square = step.shape[0] == step.shape[1]
        # Half of a block's output bypasses its attention (Abnar and Zuidema, section 3).
        flow = (0.5 * step + 0.5 * torch.eye(len(step), device=step.device)) @ flow if square else step @ flow
    return flow.mean(dim=0).double().cpu().numpy()


def _ask_for_weights(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return args, {**kwargs, "need_weights": True, "average_attn_weights": True}


def _note_windows(steps: list[Tensor], module: Any, args: tuple[Tensor, ...]) -> None:
    steps.append(module.weights(args[0])[0])


def _note_merging(steps: list[Tensor], module: nn.Module, args: tuple[Tensor, ...]) -> None:
    length = args[0].shape[1]
    merged = torch.zeros((length + 1) // 2, length, device=args[0].device)
    for frame in range(length):
        merged[frame // 2, frame] += 0.5
    merged[-1, -1] += 0.5 * (length % 2)  # the last frame of an odd number is merged with itself
    steps.append(merged)


@contextmanager
def _slow_path() -> Iterator[None]:
    """Disable torch's fused encoder layer, which does not call the attention module and its hooks."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def grad_cam(predictor: Predictor, pictures: NDArray[np.uint8], place: int) -> NDArray[np.float32] | None:
    """Heat map of class number `place` in a clip's frames or snippets: (T, h, w), from 0 to 1; None without a feature map.

    Args:
        pictures: (T, size, size, 3), or (T, L, size, size, 3); the heat of a snippet is the mean over time.
    """
    backbone = predictor.backbone.to(predictor.device)
    length = backbone.snippet_length  # frames that give one feature
    first = np.ascontiguousarray(pictures.reshape(-1, *pictures.shape[-3:])[:length])
    layer = _last_map(backbone.network, lambda: backbone(torch.from_numpy(first).to(predictor.device)))
    if layer is None:
        return None
    maps: list[Tensor] = []

    def cut(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        channels_last = isinstance(module, nn.LayerNorm) and output.dim() == 5  # (B, t, h, w, C) of a video Swin Transformer
        feature_map = output.movedim(-1, 1) if channels_last else output
        maps.append(feature_map.detach().requires_grad_())  # the graph starts here: the layers before need no gradient
        following = maps[-1].clone()  # the next layer may work in place
        return following.movedim(1, -1) if channels_last else following

    hook = layer.register_forward_hook(cut)
    try:
        # cuDNN supports no gradients of recurrent layers in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            inputs = np.stack([pictures_of(pictures, stream) for stream in predictor.streams])  # (S, T, ...)
            batches = torch.from_numpy(inputs).to(predictor.device).flatten(0, -4).split(max(1, _BATCH // length) * length)
            computed = torch.cat([backbone(batch).float() for batch in batches])
            # An image network gives one feature per frame of a snippet; their mean is the snippet's.
            steps = computed.unflatten(0, (*inputs.shape[:2], -1)).mean(dim=2)  # (S, T, D)
            features = torch.cat([*steps], dim=1)
            logit = predictor.network.eval()(features[None])[0, place]
            gradients = torch.autograd.grad(logit, maps)
    finally:
        hook.remove()
    weighted = [
        (activation * gradient.mean(dim=tuple(range(2, gradient.dim())), keepdim=True)).sum(dim=1).relu()
        for activation, gradient in zip(maps, gradients, strict=True)
    ]
    every = torch.cat(weighted).detach().float().cpu().numpy()  # (S * T ..., h, w), or (S * T, t, h, w)
    heat = every.reshape(*inputs.shape[:2], -1, *every.shape[-2:]).mean(axis=2).sum(axis=0)
    return heat / heat.max() if heat.max() > 0 else heat


def _last_map(network: nn.Module, run: Callable[[], object]) -> nn.Module | None:
    """The last module whose output is a feature map with height and width above 1; None if the network has no such map.

    A map is (B, C, h, w); of a video network, (B, C, t, h, w), or (B, t, h, w, C) after a LayerNorm.
    """
    if isinstance(network, MViT):  # tokens without a place
        return None
    latest: list[nn.Module] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        if not isinstance(output, Tensor) or output.dim() not in (4, 5):
            return
        on_grid = isinstance(module, nn.LayerNorm) and output.dim() == 5
        if min(output.shape[2:4] if on_grid else output.shape[-2:]) > 1:
            latest[:] = [module]

    hooks = [module.register_forward_hook(note) for module in network.modules() if module is not network]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return latest[0] if latest else None
