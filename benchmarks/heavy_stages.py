"""Time of the two heavy stages together, from clips to features, against a quickly written script.

    python -m benchmarks.heavy_stages [--clips 64] [--precision fp32]

The clips resemble UCF-50's: 200 frames of 320x240 at 25 fps, Xvid with long groups of pictures. The script processes an eighth of
them, since each takes it the same time. Our stages process all, and then a quarter of them: the difference gives the time of each
further clip without the start of the processes.
"""

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision import transforms

from actionrec.data.clip_files import write_members
from actionrec.data.clip_search import find_clips
from actionrec.data.clips import Clip, write_clips
from actionrec.io import machine
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
    parser.add_argument("--clips", type=int, default=64, help="clips for our stages; the script processes an eighth")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="bf16 only where the processor has it")
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
        clips = find_clips(folder / "data/raw/mine", None)
        few, some = clips[: max(1, len(clips) // 8)], clips[: max(2, len(clips) // 4)]

        def ours(chosen: list[Clip]) -> None:
            write_clips(folder / "data/clips.csv", chosen)
            write_members(folder / "data/tar_members.csv", {})
            shutil.rmtree(folder / ".work", ignore_errors=True)
            pairs.stage("extract_frames", folder)
            pairs.stage("resnet_features", folder)

        print(f"{pairs.describe_machine()}; {len(clips)} clips, medians of {arguments.repeats}\n", flush=True)
        ways = {
            "script": lambda: afternoon_script([folder / "data/raw/mine" / clip.id for clip in few]),
            "some": lambda: ours(some),
            "all": lambda: ours(clips),
        }
        seconds = pairs.interleaved(ways, arguments.repeats)
    script = seconds["script"] / len(few)
    rate = (seconds["all"] - seconds["some"]) / (len(clips) - len(some))
    print(f"script                             {script:7.3f} s a clip, on all {machine.cores()} cores")
    print(f"both stages                        {seconds['all'] / len(clips):7.3f} s a clip, start included")
    print(f"both stages, each clip more        {rate:7.3f} s")
    print(f"ratio                              {script * len(clips) / seconds['all']:7.2f}, of each clip more {script / rate:.2f}")


if __name__ == "__main__":
    main()
