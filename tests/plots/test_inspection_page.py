import io
import warnings

import matplotlib.image
import numpy as np
import pytest
from probes import clip, plain, probe

from actionrec.inspection.probe import Probe
from actionrec.inspection.summary import summarise
from actionrec.plots.canvas import DPI
from actionrec.plots.inspection import MOST_PICTURES, WIDTH, chosen_classes, page

GREEN = np.full((60, 80, 3), (0, 200, 0), np.uint8)


def draw(probes, picture=GREEN, dataset="mine"):
    """Draw the page of a data set, and read its pixels: (H, W, 4), 0 to 1."""
    known = summarise(dataset, probes, read_through=False)
    names = chosen_classes(sorted(one.name for one in known.classes))
    png = page(known, [one.seconds for one in probes if one.seconds], dict.fromkeys(names, picture))
    return matplotlib.image.imread(io.BytesIO(png), format="png")


def green(pixels):
    return np.all(np.abs(pixels[..., :3] - GREEN[0, 0] / 255) < 0.02, axis=-1)


def of_classes(count):
    return [probe(f"Class{number:03}/v_x_g{clip:02d}_c01.avi") for number in range(count) for clip in range(1 + number % 4)]


@pytest.mark.parametrize("classes", [2, 36, pytest.param(300, marks=pytest.mark.slow)])
def test_any_number_of_classes_fits_on_a_page(classes):
    height, width = draw(of_classes(classes)).shape[:2]
    assert width == pytest.approx(WIDTH * DPI, rel=0.05)
    assert 5 * DPI < height < 24 * DPI


def test_each_chosen_class_has_its_picture():
    pixels = green(draw(of_classes(3)))
    columns = np.flatnonzero(pixels.any(axis=0))
    assert 1 + np.count_nonzero(np.diff(columns) > 1) == 3


def test_of_many_classes_so_many_are_shown_from_the_first_to_the_last():
    names = [f"{number:03}" for number in range(101)]
    chosen = chosen_classes(names)
    assert len(chosen) == len(set(chosen)) == MOST_PICTURES
    assert (chosen[0], chosen[-1], chosen) == ("000", "100", sorted(chosen))
    assert chosen_classes(names[:MOST_PICTURES]) == names[:MOST_PICTURES]


@pytest.mark.parametrize("shape", [(90, 10), (10, 300), (1, 1)])
def test_pictures_of_any_shape_keep_it(shape):
    pixels = green(draw(of_classes(2), np.full((*shape, 3), GREEN[0, 0], np.uint8)))
    left, right = np.flatnonzero(np.diff(pixels.any(axis=0), prepend=False))[:2]  # of the first picture
    height = np.count_nonzero(pixels[:, left:right].any(axis=1))
    assert (right - left) / height == pytest.approx(shape[1] / shape[0], rel=0.2)


def test_where_no_file_opens_the_page_says_so():
    draw([Probe(clip(f"{label}/1.avi"), None, "no video") for label in "AB"], picture=None)


@pytest.mark.parametrize("frames", [(50, 50), (1, 10_000_000), (50, 51)])
def test_durations_alike_and_far_apart_can_be_drawn(frames):
    draw([probe("A/1.avi", frames=frames[0]), *(probe(f"B/{number}.avi", frames=frames[1]) for number in range(3))])


def test_awkward_names_can_be_drawn_without_a_warning():
    names = ("$a$b$", "x" * 200, "動作🤸" * 20, "\\frac{_^}", "<b>&</b>", "line\nbreak", "\x1b[31m")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw([probe(f"{name}/{number}.avi", codec=name[:4]) for name in names for number in range(2)], dataset="da$ta$_{")


def test_the_page_is_the_same_bytes_on_every_run():
    known = summarise("mine", plain(8), read_through=False)
    pictures = {"A": GREEN, "B": None}
    assert page(known, [1.0, 2.0], pictures) == page(known, [1.0, 2.0], pictures)
