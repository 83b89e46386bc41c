"""Sample: a small data set of drawn clips, kept in Git, in which only the order of the frames distinguishes paired classes.

There are eight classes in four pairs. Each clip of a pair's second class shows the frames of its twin, the clip of the same number
in the first class, in reverse order. A model that ignores the order of frames sees the same input for both twins and gets one of
the two right. A model that follows the motion can get both right.

Names and layout are UCF's: `<Class>/v_<Class>_gXX_cYY.avi`. Twins come from one source, since they show the same frames;
`clips.csv` beside the clips gives both the same group. Each source has its own background and object. Its clips differ in length,
start, end, position and size.
"""

import colorsys
import logging
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import DataError
from actionrec.core.text import first_few
from actionrec.data.clip_list import INDEX
from actionrec.io.files import whole_folder, write_csv

logger = logging.getLogger(__name__)

WIDTH, HEIGHT = 320, 240  # pixels, as in UCF-50
FRAMES_PER_SECOND = 25.0
SHORTEST, LONGEST = 40, 64  # frames in a clip
SEED = 0  # fixed, so that everyone has the same sample; the parameter `seed` does not change it
CLIPS_IN_GROUP = (2, 1, 1, 1, 2, 1, 1, 1, 1, 1)  # in each class: 12 clips in 10 groups

Image = NDArray[np.uint8]  # (HEIGHT, WIDTH, 3), blue, green, red
Plane = NDArray[np.floating[Any]]  # (HEIGHT, WIDTH)
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Pose:
    """Where an object is: centre and radius in pixels, and the direction of its tip, in radians clockwise from the right."""

    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True)
class Scene:
    """Background and object, the same in all clips of a source."""

    background: Image
    outline: Points
    colour: tuple[float, float, float]  # blue, green, red; 0 to 255


@dataclass(frozen=True)
class Take:
    """Length, motion and size of one clip."""

    frame_count: int
    first: float  # part of the motion, 0 to 1, completed in the first frame
    last: float  # and in the last frame
    dx: float  # offset of the motion from the centre, pixels
    dy: float
    scale: float


def slide(done: float, take: Take) -> Pose:
    """From the left edge to the right edge."""
    return Pose(35 + 250 * done, 125 + take.dy, 46 * take.scale, 0)


def rise(done: float, take: Take) -> Pose:
    """From the bottom to the top, tip first."""
    return Pose(160 + take.dx, 210 - 180 * done, 42 * take.scale, -math.pi / 2)


def grow(done: float, take: Take) -> Pose:
    """From small to large."""
    return Pose(160 + take.dx, 120 + take.dy, (14 + 80 * done) * take.scale, 0)


def turn(done: float, take: Take) -> Pose:
    """From left over the top to right, about the object's tail, like a clock hand."""
    angle = math.pi * (done - 1)
    arm = 58 * take.scale
    return Pose(160 + take.dx + arm * math.cos(angle), 165 + take.dy + arm * math.sin(angle), 58 * take.scale, angle)


# Motion -> the class that shows it forwards, and the class that shows it backwards.
PAIRS: dict[Callable[[float, Take], Pose], tuple[str, str]] = {
    slide: ("SlideRight", "SlideLeft"),
    rise: ("Rise", "Sink"),
    grow: ("Grow", "Shrink"),
    turn: ("TurnClockwise", "TurnCounterclockwise"),
}

# Objects that point to the right, within -1 to 1.
OUTLINES: dict[str, Points] = {
    "arrow": ((-1, -0.35), (0.1, -0.35), (0.1, -0.85), (1, 0), (0.1, 0.85), (0.1, 0.35), (-1, 0.35)),
    "kite": ((-1, 0), (0.2, -0.75), (1, 0), (0.2, 0.75)),
    "house": ((-0.9, -0.7), (0.3, -0.7), (1, 0), (0.3, 0.7), (-0.9, 0.7)),
    "wedge": ((-1, -0.8), (1, 0), (-1, 0.8)),
    "hammer": ((-1, -0.3), (0.4, -0.3), (0.4, -0.9), (1, -0.9), (1, 0.9), (0.4, 0.9), (0.4, 0.3), (-1, 0.3)),
    "fish": ((-1, -0.6), (-0.5, -0.15), (0.2, -0.65), (1, 0), (0.2, 0.65), (-0.5, 0.15), (-1, 0.6)),
    "chevron": ((-1, -0.85), (0.3, -0.85), (1, 0), (0.3, 0.85), (-1, 0.85), (-0.3, 0)),
    "boat": ((-1, -0.5), (0.4, -0.7), (1, 0), (0.4, 0.7), (-1, 0.5), (-0.7, 0)),
    "rocket": ((-1, -0.8), (-0.4, -0.4), (0.5, -0.4), (1, 0), (0.5, 0.4), (-0.4, 0.4), (-1, 0.8), (-0.7, 0)),
    "leaf": ((-1, 0), (-0.5, -0.55), (0.2, -0.65), (1, 0), (0.2, 0.65), (-0.5, 0.55)),
}


def triangle_wave(phase: Plane) -> Plane:
    """1 at whole numbers, 0 halfway between. Unlike a sine, it is the same on every processor."""
    wave: Plane = np.abs(phase - np.floor(phase) - 0.5) * 2
    return wave


# Textures of a given period in pixels, from 0 to 1.
TEXTURES: tuple[Callable[[Plane, Plane, float], Plane], ...] = (
    lambda x, y, period: triangle_wave((x + y) / period),
    lambda x, y, period: (np.floor(x / period) + np.floor(y / period)) % 2,
    lambda x, y, period: ((x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (period * 0.3) ** 2) * 1.0,
    lambda x, y, period: triangle_wave(y / period + 0.6 * triangle_wave(x / (2 * period))),
    lambda x, y, period: ((x % period < period * 0.2) | (y % period < period * 0.2)) * 1.0,
)


def fetch(folder: Path) -> None:
    """Make sure that the sample is in `folder`. Git has it; it is drawn again if a file is missing.

    Raises:
        DataError: a video cannot be written, or `folder` is a symlink or contains other files.
    """
    next_step = f"Use another folder below {folder.parent} for your own clips, and set data.dataset to its name."
    if folder.is_symlink():
        raise DataError(f"{folder} is a symlink to {folder.readlink()}; expected the sample's own folder. {next_step}")
    expected = {INDEX, *clip_ids()}
    existing = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    if others := sorted(name for name in existing - expected if not name.rpartition("/")[2].startswith(".")):
        raise DataError(f"{folder} contains files that do not belong to the sample: {first_few(others)}. Move them. {next_step}")
    if expected <= existing:
        logger.info("%s already exists and is kept", folder)
    else:
        generate(folder, SEED)


def clip_id(name: str, group: int, clip: int) -> str:
    """A clip's id: its path below the data set's folder."""
    return f"{name}/v_{name}_g{group:02d}_c{clip:02d}.avi"


def clip_ids() -> list[str]:
    """Ids of all clips of the sample."""
    return [
        clip_id(name, group, clip)
        for names in PAIRS.values()
        for name in names
        for group, clip_count in enumerate(CLIPS_IN_GROUP, start=1)
        for clip in range(1, clip_count + 1)
    ]


def generate(folder: Path, seed: int) -> None:
    """Draw the data set into `folder`, replacing its contents. The same seed gives the same bytes.

    Raises:
        DataError: a video cannot be written.
    """
    rows = []
    with whole_folder(folder) as draft:
        for names in PAIRS.values():
            for name in names:
                (draft / name).mkdir()
        for group, clip_count in enumerate(CLIPS_IN_GROUP, start=1):
            for motion, names in PAIRS.items():
                scene = make_scene(names[0], group, seed)
                for clip in range(1, clip_count + 1):
                    take = make_take(random.Random(f"{seed} {group} {names[0]} {clip}"))
                    frames = [draw(scene, motion(done, take)) for done in motion_done(take)]
                    for name, ordered in zip(names, (frames, frames[::-1]), strict=True):
                        write_video(draft / clip_id(name, group, clip), ordered)
                        rows.append((clip_id(name, group, clip), name, f"{'-'.join(names)}-{group:02d}"))
        write_csv(draft / INDEX, ("clip", "label", "group"), sorted(rows))
    logger.info("%s: %d clips of %d classes", folder, 2 * len(PAIRS) * sum(CLIPS_IN_GROUP), 2 * len(PAIRS))


def make_scene(pair: str, group: int, seed: int) -> Scene:
    """Draw the background and choose the object of a source.

    The ten groups of a pair have ten different outlines. Every background is dark and plain on the left, bright and textured on
    the right, and darker below, so that even the pooled features of a backbone with random weights depend on the object's
    position.

    Args:
        pair: name of the pair's first class.
        group: number, from 1.
    """
    rng = random.Random(f"{seed} {pair} {group}")
    shared = random.Random(f"{seed} {pair}")
    outlines = shared.sample(list(OUTLINES.values()), len(OUTLINES))
    # Cool walls, green to violet; two groups with the same texture are half the range apart.
    hue = 0.33 + 0.042 * ((3 * group + 10 * shared.random()) % 10)
    dark = np.array(colorsys.hsv_to_rgb(hue, 0.7, 0.12))
    light = np.array(colorsys.hsv_to_rgb(hue, 0.3, 0.95))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    across, down = x / WIDTH, y / HEIGHT
    texture = TEXTURES[group % len(TEXTURES)](x, y, rng.uniform(22, 34)) - 0.5
    shade = (1 - 0.4 * down) * (1 + 0.4 * texture * across)
    colour = (dark + (light - dark) * across[..., None]) * shade[..., None]
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(0.95, 1.15) % 1, 0.8, 1)  # warm objects
    return Scene(
        background=(colour[..., ::-1].clip(0, 1) * 255).round().astype(np.uint8),
        outline=outlines[group % len(outlines)],
        colour=(255 * blue, 255 * green, 255 * red),
    )


def make_take(rng: random.Random) -> Take:
    """Draw a clip's length, motion and size at random."""
    return Take(
        frame_count=SHORTEST + int(rng.random() * (LONGEST - SHORTEST + 1)),
        first=rng.uniform(0, 0.2),
        last=rng.uniform(0.8, 1),
        dx=rng.uniform(-15, 15),
        dy=rng.uniform(-12, 12),
        scale=rng.uniform(0.85, 1.15),
    )


def motion_done(take: Take) -> list[float]:
    """The part of the motion, 0 to 1, completed in each frame, at constant speed."""
    return [take.first + (take.last - take.first) * index / (take.frame_count - 1) for index in range(take.frame_count)]


def draw(scene: Scene, pose: Pose) -> Image:
    """Draw a frame: the object, with a dark rim, on its background."""
    frame = scene.background.copy()
    rim = tuple(0.3 * channel for channel in scene.colour)
    for colour, radius in ((rim, 1.12 * pose.radius), (scene.colour, 0.92 * pose.radius)):
        cv2.fillPoly(frame, [corners_of(scene.outline, pose, radius)], colour, cv2.LINE_AA, shift=8)
    return frame


def corners_of(outline: Points, pose: Pose, radius: float) -> NDArray[np.int32]:
    """Corners of an outline, in 1/256 pixel: (corners, 2)."""
    cos, sin = radius * math.cos(pose.angle), radius * math.sin(pose.angle)
    corners = [(pose.x + x * cos - y * sin, pose.y + x * sin + y * cos) for x, y in outline]
    return np.array([(round(256 * x), round(256 * y)) for x, y in corners], dtype=np.int32)


def write_video(path: Path, frames: Iterable[Image]) -> None:
    """Write an AVI file with MPEG-4 Part 2 video.

    Raises:
        DataError: OpenCV cannot open or finish the file.
    """
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"XVID"), FRAMES_PER_SECOND, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise DataError(f"{path}: OpenCV cannot write MPEG-4 video on this machine.")
    count = 0
    for frame in frames:
        writer.write(frame)
        count += 1
    writer.release()
    # The writer reports no errors, not even a full disk. The index of a complete file counts the frames.
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    written = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    reader.release()
    if written != count:
        raise DataError(f"{path}: {written} of {count} frames were written. Check that the disk is not full.")
