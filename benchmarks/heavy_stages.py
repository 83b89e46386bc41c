"""The two heavy stages together, from clips to features, against the script that people write in an afternoon.

    python -m benchmarks.heavy_stages [--clips 8] [--precision fp32]

The clips are made as UCF-50's are: 200 frames of 320x240 at 25 fps, Xvid with long groups of pictures.
"""

import argparse
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision import transforms

from actionrec import machine
from actionrec.clips import find_clips, write_clips
from benchmarks import decode, pairs


def afternoon_script(clips: list[Path]) -> dict[str, np.ndarray]:
    """Seek to each frame, transform it with PIL, and run torch eager."""
    model = torchvision.models.resnet50()
    model = torch.nn.Sequential(*list(model.children())[:-1]).eval()
    transform = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    features = {}
    for path in clips:
        capture = cv2.VideoCapture(str(path))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        frames = []
        for index in np.linspace(0, count - 1, 32).astype(int):
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            got, frame = capture.read()
            if got:
                frames.append(transform(Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))))
        capture.release()
        with torch.no_grad():
            features[path.name] = model(torch.stack(frames)).squeeze().numpy()
    return features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="where the processor has it")
    parser.add_argument("--repeats", type=int, default=pairs.REPEATS)
    arguments = parser.parse_args()
    with pairs.project(data__dataset="mine", features__precision=arguments.precision, features__weights="random") as folder:
        first = folder / "data/raw/mine/Waving/v_Waving_g01_c01.avi"
        first.parent.mkdir(parents=True)
        decode.CLIPS["Xvid, GOP 250, packed B"][1](first)
        for clip in range(1, arguments.clips):
            label = ("Waving", "Turning")[clip % 2]
            copy = folder / f"data/raw/mine/{label}/v_{label}_g{clip % 25 + 1:02d}_c{clip:02d}.avi"
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(first, copy)
        clips = sorted(folder.glob("data/raw/mine/*/*.avi"))
        write_clips(folder / "data/clips.csv", find_clips(folder / "data/raw/mine", None))

        def ours() -> None:
            shutil.rmtree(folder / ".work", ignore_errors=True)
            pairs.stage("extract_frames", folder)
            pairs.stage("resnet_features", folder)

        def start() -> None:
            pairs.stage("extract_frames", folder)
            pairs.stage("resnet_features", folder)

        print(f"{pairs.describe_machine()}; {len(clips)} clips, medians of {arguments.repeats}\n", flush=True)
        seconds = pairs.interleaved({"afternoon script": lambda: afternoon_script(clips), "actionrec": ours}, arguments.repeats)
        begin = time.perf_counter()
        start()
        idle = time.perf_counter() - begin
    plain, stages = seconds["afternoon script"], seconds["actionrec"]
    print(f"afternoon script          {plain / len(clips):7.3f} s a clip, on all {machine.cores()} cores")
    print(f"both stages               {stages / len(clips):7.3f} s a clip, with {idle:.1f} s of start for all")
    print(f"both, start not counted   {(stages - idle) / len(clips):7.3f} s a clip")
    print(f"ratio                     {plain / stages:7.2f}, start not counted {plain / (stages - idle):.2f}")


if __name__ == "__main__":
    main()
