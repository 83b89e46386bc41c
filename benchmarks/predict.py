"""Time of one clip's prediction without start-up: `predict` and its parts, and the model's ONNX exports.

    python -m benchmarks.predict [--models gru,transformer] [--backbone resnet50] [--precision bf16] [--size 224]

The bundle's weights are random, which does not affect times. The clip is the first of the decoding benchmark: 200
frames of 320x240 in Xvid.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from actionrec.export import onnx_export, onnx_graph, onnx_int8
from actionrec.features import backbones, extractors
from actionrec.features.backbones import FeatureSettings
from actionrec.inference.predictor import Predictor, load
from actionrec.io import machine
from actionrec.training.bundle import Architecture, Bundle, save_bundle
from actionrec.training.recipes import read_recipe
from benchmarks import decode, pairs

CLASSES, FRAMES = 50, 32  # as in UCF-50 and params.yaml
CALIBRATED = 4  # clips; more change the scales, not the speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="gru,transformer")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=pairs.REPEATS)
    arguments = parser.parse_args()
    device = machine.device()
    runtimes = f"{extractors.runtime(device)}, features.precision {arguments.precision}, onnxruntime {onnxruntime.__version__}"
    print(f"{pairs.describe_machine()}; {runtimes}; {machine.workers()} threads\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / decode.CLIPS["Xvid, GOP 12"][0]
        decode.CLIPS["Xvid, GOP 12"][1](clip)
        for model in arguments.models.split(","):
            bundle(folder / model, model, arguments.backbone, arguments.precision, arguments.size)
            predictor = load(folder / model)
            measure(predictor, clip, folder, arguments.repeats)
        start = min(
            pairs.Finished(["-m", "actionrec", "predict", "-", "--model", str(folder / model)], folder).seconds for _ in "12"
        )
        print(f"start of predict, once for all its clips: {start:.1f} s")


def bundle(folder: Path, model: str, backbone: str, precision: str, size: int) -> None:
    """Write a bundle with random weights."""
    settings = FeatureSettings(backbone, backbones.RANDOM, precision)
    built = backbones.create_backbone(settings)
    with torch.inference_mode():
        width = built(torch.zeros(1, size, size, 3, dtype=torch.uint8)).shape[1]
    classes = [f"Class{number}" for number in range(CLASSES)]
    architecture = Architecture(model, read_recipe(model).arguments, width, classes)
    frames = {"count": FRAMES, "resolution": size, "format": "jpeg", "quality": 95}
    about = {**backbones.describe(settings, built), "frames": frames}
    save_bundle(folder, Bundle(architecture, architecture.create().eval(), about))


def measure(predictor: Predictor, clip: Path, folder: Path, repeats: int) -> None:
    """Print milliseconds of each way, alternating."""
    sampled = predictor.sample(clip).frames
    features = predictor.extractor(sampled)
    pieces = onnx_graph.trace(load(folder / predictor.name, device="cpu"))
    quantised, _ = onnx_int8.quantise(pieces, [np.roll(sampled, shift, axis=2) for shift in range(CALIBRATED)])
    graphs = {"whole": pieces.graph("whole"), "int8": quantised, "head": pieces.graph("head")}
    models = {}
    for form, graph in graphs.items():
        path = folder / f"{predictor.name}-{form}.onnx"
        onnx_export.write(path, graph, {}, lambda draft: None)
        models[form] = onnx_export.session(path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    frames, wide = onnx_export.as_frames(sampled), features[None].astype(np.float32)
    taken = pairs.interleaved(
        {
            "predict": lambda: predictor.predict(clip),
            "  decoding, as stored": lambda: predictor.sample(clip),
            "  features": lambda: predictor.extractor(sampled),
            "  head": lambda: predictor.answer(features),
            "ONNX, frames to probabilities, fp32": lambda: onnx_export.run(models["whole"], frames),
            "ONNX, the same with an 8-bit backbone": lambda: onnx_export.run(models["int8"], frames),
            "ONNX, features to probabilities": lambda: onnx_export.run(models["head"], wide),
        },
        repeats,
    )
    print(f"\n| {predictor.name} | ms a clip |\n|---|---|")
    for way, seconds in taken.items():
        print(f"| {way.replace('  ', '&ensp;')} | {1000 * seconds:.1f} |")
    ours = taken["  features"] + taken["  head"]
    whole, fast, head = (seconds for way, seconds in taken.items() if way.startswith("ONNX"))
    print(f"\nfrom frames on, predict takes {ours / whole:.2f} of ONNX in fp32, {ours / fast:.2f} of it in 8 bits;")
    print(f"8 bits are {whole / fast:.2f} times as fast as fp32; the head takes {taken['  head'] / head:.2f} of ONNX's\n")


if __name__ == "__main__":
    main()
