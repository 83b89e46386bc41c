"""Training diagnostics: whether a run learned, stayed at chance, diverged, overfitted, or is still improving.

A verdict is read from curves by fixed rules. It comes with the numbers that led to it and with notes on the curves. K classes;
losses in nats, so that ln K is the loss of a model that gives every class the same probability.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation.intervals import cluster_interval
from actionrec.evaluation.significance_tests import SIGNIFICANCE, better_than
from actionrec.training.loop import Curve, best_epoch

Verdict = Literal["diverged", "at chance", "overfitted", "still improving", "learned"]

DIVERGED = 2.0  # diverged: the training loss ends above this multiple of ln K ...
LOST = 0.9  # ... or above ln K after having been below this share of it
UNTAUGHT = 0.98  # at chance: the training loss ends above this share of ln K ...
CONSTANT = 0.9  # ... or at least this share of the held-out clips gets the same answer
RISE = 0.15  # overfitted: the held-out loss ends above its lowest value by this share of it ...
RISE_NATS = 0.1  # ... and by this many nats
FALL = 0.05  # still improving: the held-out loss falls over the last epochs by this share of it ...
FALL_NATS = 0.01  # ... and by this many nats
LAST = 0.25  # share of the epochs that count as the last ones; at least 3
LEAP = 1.5  # a note: the training loss rises to this multiple of the one before it, and by at least RISE_NATS


@dataclass(frozen=True)
class Curves:
    """One value per epoch; all curves have the same length."""

    train_loss: Curve
    train_top1: Curve
    held_out_loss: Curve
    held_out_top1: Curve
    gradient_norm: Curve | None = None  # mean over the epoch's steps, before clipping

    def __post_init__(self) -> None:
        curves = (self.train_loss, self.train_top1, self.held_out_loss, self.held_out_top1, self.gradient_norm)
        lengths = [len(curve) for curve in curves if curve is not None]
        if len(set(lengths)) != 1 or not lengths[0]:
            raise ValueError(f"curves must have the same length, at least one epoch; got {lengths} epochs")

    @property
    def best_epoch(self) -> int:
        """See `loop.best_epoch`."""
        return best_epoch(self.held_out_top1, self.held_out_loss)


@dataclass(frozen=True)
class TrainingDiagnostics:
    """The verdict on a training run."""

    verdict: Verdict
    why: str  # one sentence, with numbers
    notes: tuple[str, ...]  # further observations


@dataclass(frozen=True)
class Kept:
    """Answers of the kept epoch's model for n held-out clips."""

    answers: NDArray[np.int64]  # (n,) classes
    correct: NDArray[np.bool_]  # (n,)
    clusters: NDArray[np.int64]  # (n,) the number of each clip's cluster


def verdict(
    curves: Curves, class_count: int, majority_accuracy: float, held_out_clips: int, kept: Kept | None = None
) -> TrainingDiagnostics:
    """Diagnose a training run. The verdict is the first of these that holds:

    1. diverged: a loss or gradient norm is not finite; or the training loss ends above 2 ln K; or it ends above ln K after
       having been below 0.9 ln K.
    2. at chance: the training loss ends above 0.98 ln K, or nearly all held-out clips get the same answer; and the best held-out
       top-1 is not shown to be better than the majority-class accuracy. Two tests must show it: the one-sided exact binomial
       test, with p multiplied by the number of epochs, and the interval over whole clusters, which must lie above it.
    3. overfitted: the held-out loss ends (median of the last 3 epochs) at least 15 % and 0.1 nats above its lowest, while the
       training loss has fallen since; or the training clips were learned, but the best held-out top-1 is not shown to be better
       than the majority-class accuracy. The kept epoch may still be good; see the notes.
    4. still improving: the kept epoch is among the last quarter (at least 3), and a straight line through their held-out losses
       falls by at least 5 % and 0.01 nats; and not every held-out clip is correct already. Needs 4 epochs.
    5. learned.

    Args:
        class_count: K, at least 2.
        majority_accuracy: share of the most frequent class among the held-out clips.
        held_out_clips: number of clips behind held_out_top1.
        kept: answers of the kept model; without them, clips are taken as independent.

    Raises:
        ValueError: fewer than 2 classes, or no held-out clip.
    """
    if class_count < 2 or held_out_clips < 1:
        raise ValueError(f"there must be at least 2 classes and 1 held-out clip; got {class_count} and {held_out_clips}")
    answers = None if kept is None else kept.answers
    notes = _notes(curves, class_count, majority_accuracy, answers)
    checks: tuple[tuple[Verdict, str | None], ...] = (
        ("diverged", _diverged(curves, class_count)),
        ("at chance", _at_chance(curves, class_count, majority_accuracy, held_out_clips, kept)),
        ("overfitted", _overfitted(curves) or _by_heart(curves, majority_accuracy, held_out_clips, kept)),
        ("still improving", _still_improving(curves)),
    )
    for name, why in checks:
        if why:
            return TrainingDiagnostics(name, why, notes)
    best = curves.best_epoch
    epoch = f", in epoch {best} of {_epochs(curves)}" if _epochs(curves) > 1 else ""
    result = f"best held-out top-1 {_percent(curves.held_out_top1[best - 1])}{epoch}"
    return TrainingDiagnostics(
        "learned",
        f"{result} (majority class: {_percent(majority_accuracy)}); the training loss ends at {curves.train_loss[-1]:.3g}",
        notes,
    )


def _diverged(curves: Curves, class_count: int) -> str | None:
    for what, curve in (
        ("training loss", curves.train_loss),
        ("held-out loss", curves.held_out_loss),
        ("gradient norm", () if curves.gradient_norm is None else curves.gradient_norm),
    ):
        broken = np.flatnonzero(~np.isfinite(curve))
        if len(broken):
            return f"the {what} is {curve[broken[0]]} in epoch {broken[0] + 1}"
    knowing_nothing, end, lowest = float(np.log(class_count)), curves.train_loss[-1], min(curves.train_loss)
    if end > DIVERGED * knowing_nothing:
        return f"the training loss ends at {end:.3g}, above {DIVERGED:g} ln {class_count} = {DIVERGED * knowing_nothing:.3g}"
    if end > knowing_nothing and lowest < LOST * knowing_nothing:
        return f"the training loss ends at {end:.3g}, above ln {class_count} = {knowing_nothing:.3g}, having been at {lowest:.3g}"
    return None


def _at_chance(curves: Curves, class_count: int, majority_accuracy: float, clips: int, kept: Kept | None) -> str | None:
    epochs, end = _epochs(curves), curves.train_loss[-1]
    share = end / float(np.log(class_count))
    constant = kept is not None and len(kept.answers) > 0 and _most_frequent(kept.answers) >= CONSTANT > majority_accuracy
    if share <= UNTAUGHT and not constant:
        return None
    training = f"the training loss ends at {end:.3g}, {_percent(share)} of ln {class_count}"
    if not _could_be_shown(clips, majority_accuracy, epochs, kept):
        return f"{training}; {clips} held-out clips are too few to tell from the majority class ({_percent(majority_accuracy)})"
    best = max(curves.held_out_top1)
    p = min(1.0, better_than(round(best * clips), clips, majority_accuracy) * epochs)
    low = _low_end(kept)
    if p < SIGNIFICANCE and low > majority_accuracy:
        return None
    return (
        f"best held-out top-1 {_percent(best)} of {clips} clips is not shown to be better than the majority class, "
        f"{_percent(majority_accuracy)} (p = {p:.2g}, for the best of {epochs} epochs{_interval_note(kept, low)}); {training}"
    )


def _by_heart(curves: Curves, majority_accuracy: float, clips: int, kept: Kept | None) -> str | None:
    """Training clips were learned, but no benefit is shown for held-out clips; p is not multiplied by the number of epochs."""
    best = max(curves.held_out_top1)
    p, low = better_than(round(best * clips), clips, majority_accuracy), _low_end(kept)
    if (p < SIGNIFICANCE and low > majority_accuracy) or not _could_be_shown(clips, majority_accuracy, 1, kept):
        return None
    return (
        f"the training loss ends at {curves.train_loss[-1]:.3g}, yet the best held-out top-1, {_percent(best)} of {clips} clips, "
        f"is not shown to be better than the majority class, {_percent(majority_accuracy)} (p = {p:.2g}{_interval_note(kept, low)})"
    )


def _low_end(kept: Kept | None) -> float:
    """Low end of the kept model's top-1 interval over whole clusters; 1 if its answers are unknown."""
    return 1.0 if kept is None else cluster_interval(kept.correct.astype(np.float64), kept.clusters).low


def _could_be_shown(clips: int, majority_accuracy: float, epochs: int, kept: Kept | None) -> bool:
    """Whether any result on these clips could be shown to be better than the majority-class accuracy."""
    low = 1.0 if kept is None else cluster_interval(np.ones(len(kept.clusters)), kept.clusters).low
    return better_than(clips, clips, majority_accuracy) * epochs < SIGNIFICANCE and low > majority_accuracy


def _interval_note(kept: Kept | None, low: float) -> str:
    return "" if kept is None else f"; its 95 % interval over {len(np.unique(kept.clusters))} sources starts at {_percent(low)}"


def _overfitted(curves: Curves) -> str | None:
    lowest = int(np.argmin(curves.held_out_loss))
    least, end = curves.held_out_loss[lowest], float(np.median(curves.held_out_loss[-3:]))
    then, now = curves.train_loss[lowest], curves.train_loss[-1]
    if end - least < max(RISE_NATS, RISE * least) or now >= then:
        return None
    return (
        f"the held-out loss ends at {end:.3g}, {_percent((end - least) / least)} above its lowest, {least:.3g} in epoch "
        f"{lowest + 1}, while the training loss fell from {then:.3g} to {now:.3g}"
    )


def _still_improving(curves: Curves) -> str | None:
    epochs = _epochs(curves)
    window = max(3, int(np.ceil(LAST * epochs)))
    best = curves.best_epoch
    if epochs < 4 or best <= epochs - window or max(curves.held_out_top1) == 1:
        return None
    slope, start = np.polyfit(np.arange(window), curves.held_out_loss[-window:], 1)
    fall = -float(slope) * (window - 1)
    if fall < max(FALL_NATS, FALL * float(start)):
        return None
    return (
        f"the best epoch is {best} of {epochs}, and over the last {window} the held-out loss falls by {fall:.2g}, "
        f"{_percent(fall / float(start))}: more epochs should help"
    )


def _notes(curves: Curves, class_count: int, majority_accuracy: float, answers: NDArray[np.int64] | None) -> tuple[str, ...]:
    notes: list[str] = []
    train, held_out, best = curves.train_loss, curves.held_out_loss, curves.best_epoch
    if not np.isfinite([*train, *held_out, *(() if curves.gradient_norm is None else curves.gradient_norm)]).all():
        return ()  # the verdict reports it
    if train[-1] > UNTAUGHT * np.log(class_count):
        notes.append(f"the training loss ends at {train[-1]:.3g}, not below ln {class_count} = {np.log(class_count):.3g} by 2 %")
    if answers is not None and len(answers):
        named = len(np.unique(answers))
        if _most_frequent(answers) >= CONSTANT > majority_accuracy:
            notes.append(f"{_percent(_most_frequent(answers))} of the held-out clips get the same answer")
        elif named <= class_count / 2 and len(answers) >= class_count:
            notes.append(f"only {named} of {class_count} classes are ever the answer")
    if _overfitted(curves):
        lowest = int(np.argmin(held_out))
        gain = curves.held_out_top1[best - 1] - curves.held_out_top1[lowest]
        if best <= lowest + 1:
            notes.append(f"epoch {best}, which is kept, is not after the held-out loss's lowest (epoch {lowest + 1})")
        else:
            notes.append(
                f"epoch {best}, which is kept, comes after the held-out loss's lowest (epoch {lowest + 1}): its top-1 is "
                f"{100 * gain:.1f} points higher, its loss {held_out[best - 1] - held_out[lowest]:.2g}; its answers are too sure"
            )
    if curves.train_top1[-1] - curves.held_out_top1[best - 1] >= 0.1:
        notes.append(
            f"top-1 is {_percent(curves.train_top1[-1])} on training clips at the end, "
            f"{_percent(curves.held_out_top1[best - 1])} on held-out clips at best"
        )
    leaps = [epoch for epoch in range(1, len(train)) if train[epoch] > max(LEAP * train[epoch - 1], train[epoch - 1] + RISE_NATS)]
    if leaps:
        first = leaps[0]
        notes.append(
            f"the training loss leaps in {len(leaps)} of {len(train)} epochs, first from {train[first - 1]:.3g} "
            f"to {train[first]:.3g} in epoch {first + 1}"
        )
    if curves.gradient_norm is not None:
        norms = np.asarray(curves.gradient_norm)
        middle, highest = float(np.median(norms)), int(np.argmax(norms))
        if norms[highest] > 10 * middle:
            notes.append(f"the gradient norm is {norms[highest]:.3g} in epoch {highest + 1}, against {middle:.3g} in most")
    return tuple(notes)


def _epochs(curves: Curves) -> int:
    return len(curves.train_loss)


def _most_frequent(answers: NDArray[np.int64]) -> float:
    """Share of the most frequent answer."""
    return float(np.bincount(answers).max() / len(answers))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
