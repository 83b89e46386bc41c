"""Classes that a mirror changes, such as `turn_left`: the labels of mirrored clips, and the classes for which they are unknown."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actionrec.core.errors import ParamsError
from actionrec.core.text import first_few

_DIRECTIONS = {"left", "right", "leftward", "rightward", "leftwards", "rightwards", "lefthand", "righthand"}
_DIRECTIONS |= {"clockwise", "anticlockwise", "counterclockwise", "cw", "ccw"}
_OPPOSITES = (("left", "right"), ("counterclockwise", "clockwise"), ("anticlockwise", "clockwise"), ("ccw", "cw"))


def mirrored_labels(class_names: Sequence[str], pairs: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """The label of a mirrored clip, for each class: (K,).

    Args:
        pairs: pairs of classes that a mirror turns into each other; all others stay.

    Raises:
        ParamsError: a name of a pair is not a class, or a class without a pair has a direction in its name.
    """
    number = {name: place for place, name in enumerate(class_names)}
    unknown = [name for pair in pairs for name in pair if name not in number]
    if unknown:
        raise ParamsError(
            f"params.yaml: finetune.flip_pairs: there is no class {first_few(unknown)}; classes: {first_few(class_names)}."
        )
    paired = {name for pair in pairs for name in pair}
    directed = [name for name in class_names if name not in paired and has_direction(name)]
    if directed:
        raise ParamsError(
            f"params.yaml: finetune.flip: a mirrored clip would show another class than {first_few(directed)}. Set finetune.flip "
            f"to false, or name the pairs that a mirror swaps, such as finetune.flip_pairs: [{_listed(directed)}]."
        )
    labels = np.arange(len(class_names))
    for one, other in pairs:
        labels[number[one]], labels[number[other]] = number[other], number[one]
    return labels


def has_direction(name: str) -> bool:
    """Whether a class's name says left, right or which way round.

    >>> has_direction("TurnLeft"), has_direction("swipe-right"), has_direction("Brightness")
    (True, True, False)
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    joined = "".join(words).lower()
    return "clockwise" in joined or any(word.lower() in _DIRECTIONS for word in words)


def _listed(directed: Sequence[str]) -> str:
    """Pairs to write: of the classes whose names differ in their direction alone, or of the first class."""
    named = {_letters(name): name for name in directed}
    pairs = [
        f"[{name}, {named[mirrored]}]"
        for letters, name in named.items()
        for one, other in _OPPOSITES
        if one in letters and (mirrored := letters.replace(one, other)) in named
    ]
    return first_few(pairs or [f"[{directed[0]}, <its mirror image>]"], limit=20)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
