"""Classes that a mirror changes."""

import pytest

from actionrec.core.errors import ParamsError
from actionrec.finetuning.mirrored_classes import has_direction, mirrored_labels

UCF = ("Basketball", "BenchPress", "HorseRace", "HighJump", "JumpingJack", "PlayingGuitar", "TaiChi", "ThrowDiscus", "BrightLight")
TURNS = ("stand", "turn_left", "turn_right", "walk")


DIRECTED = (
    *("left", "turn_left", "TurnLeft", "swipe-right", "Swipe Right 2", "turnRight", "LEFT", "HTMLLeft", "left2", "right_hand"),
    *("ROTATE_CLOCKWISE", "counter-clockwise", "RotateCounterClockwise", "anticlockwise", "CCW", "leftward", "move rightwards"),
)


@pytest.mark.parametrize("name", DIRECTED)
def test_names_with_a_direction(name):
    assert has_direction(name)


@pytest.mark.parametrize("name", [*UCF, "Brightness", "cleft", "upright", "copyright", "lefty", "clock", "", "日本", "cwm", "2"])
def test_names_without_a_direction(name):
    assert not has_direction(name)


def test_without_directions_labels_stay():
    assert mirrored_labels(UCF, []).tolist() == list(range(len(UCF)))


def test_pairs_are_swapped_and_other_classes_stay():
    assert mirrored_labels(TURNS, [["turn_right", "turn_left"]]).tolist() == [0, 2, 1, 3]
    names = ("a", "b", "c", "d", "e")
    swapped = mirrored_labels(names, [["a", "d"], ["e", "b"]])
    assert swapped.tolist() == [3, 4, 2, 0, 1]
    assert swapped[swapped].tolist() == [0, 1, 2, 3, 4]


def test_names_that_are_not_classes_are_refused():
    with pytest.raises(ParamsError) as caught:
        mirrored_labels(TURNS, [["turn_left", "turn_rihgt"], ["Walk", "stand"]])
    assert str(caught.value) == (
        "params.yaml: finetune.flip_pairs: there is no class turn_rihgt, Walk; classes: stand, turn_left, turn_right, walk."
    )


def test_directions_without_a_pair_are_refused_with_the_pair_to_write():
    with pytest.raises(ParamsError) as caught:
        mirrored_labels(TURNS, [])
    assert str(caught.value) == (
        "params.yaml: finetune.flip: a mirrored clip would show another class than turn_left, turn_right. Set finetune.flip to "
        "false, or name the pairs that a mirror swaps, such as finetune.flip_pairs: [[turn_left, turn_right]]."
    )
    names = ("SlideRight", "SlideLeft", "TurnCounterclockwise", "Turn clockwise", "Up")
    with pytest.raises(ParamsError, match=r": \[\[SlideLeft, SlideRight\], \[TurnCounterclockwise, Turn clockwise\]\]\.$"):
        mirrored_labels(names, [])
    with pytest.raises(ParamsError, match=r"flip_pairs: \[\[wave_left, <its mirror image>\]\]\.$"):
        mirrored_labels((*TURNS, "wave_left"), [["turn_left", "turn_right"]])
