"""Calibration of a model's confidence: reliability bins, ECE, temperature, and the threshold for unsure answers.

n clips, K classes. Temperature and threshold are fitted on validation clips: fitted on test clips, they would look too good.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # which loads scipy.optimize, a second's work, where it is first used
from numpy.typing import NDArray

from actionrec.evaluation import metrics
from actionrec.evaluation.logits import Logits, TopLogits, answers, blocks

TEMPERATURES = (0.05, 20.0)  # bounds of `fit_temperature`
KEPT = 0.95  # share of the correct validation answers that `confidence_threshold` keeps
# Correct answers that `confidence_threshold` needs. A threshold from 60 answers keeps 86 to 98 % of future correct answers (95 %
# interval of the beta distribution of an order statistic); one from 16 answers, at their lowest confidence, 79 to 100 %.
FEWEST_ANSWERS = 60


@dataclass(frozen=True)
class Confidences:
    """The answers for some clips."""

    top: NDArray[np.float64]
    """(n,) the probability of the most probable class."""
    correct: NDArray[np.bool_]
    """(n,) whether that is the true one."""


@dataclass(frozen=True)
class Reliability:
    """Clips in bins of equal width of the top probability, from 0 to 1; a share is NaN in a bin without clips."""

    confidence: NDArray[np.float64]  # (bins,) mean top probability
    accuracy: NDArray[np.float64]  # (bins,) share of clips whose most probable class is the true one
    count: NDArray[np.int64]  # (bins,) clips


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of classes: softmax(logits / temperature), in float64; huge logits do not overflow.

    Args:
        logits: (n, K), finite.
        temperature: above 0; values above 1 lower the confidence. It never changes which class is the most probable.

    Returns:
        (n, K); each row sums to 1.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be above 0; got {temperature}")
    wide = logits.astype(np.float64)
    powers = np.exp((wide - wide.max(axis=1, keepdims=True)) / temperature)
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def probabilities(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """`softmax`, also of the highest logits only: see `TopLogits.probabilities`."""
    return logits.probabilities(temperature) if isinstance(logits, TopLogits) else softmax(logits, temperature)


def confidences(logits: Logits, labels: NDArray[np.int64], temperature: float = 1.0) -> Confidences:
    """The confidences of answers, computed in blocks of clips.

    Args:
        labels: (n,), from 0 to K - 1.
        temperature: see `softmax`.
    """
    if isinstance(logits, TopLogits):
        top = np.exp(logits.values[:, 0].astype(np.float64) / temperature - logits.log_sum(temperature))
    else:
        top = np.empty(len(labels))
        for block in blocks(*logits.shape):
            top[block] = softmax(logits[block], temperature).max(axis=1)
    return Confidences(top, answers(logits) == labels)


def reliability(answered: Confidences, bins: int = 15) -> Reliability:
    """Compare confidence with accuracy in bins of the top probability (Guo et al. 2017, arXiv 1706.04599).

    Bin i holds the clips with a top probability above i / bins and up to (i + 1) / bins, as in the paper; 0 is in the first bin.

    Raises:
        ValueError: fewer than 1 bin, no clips, or values outside 0 to 1 (perhaps logits).
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1; got {bins}")
    top, correct = _checked(answered)
    # Compared with the edges themselves, because rounding of top * bins would move a probability that lies on an edge.
    place = np.clip(np.searchsorted(np.arange(bins + 1) / bins, top, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    empty = np.full(bins, np.nan)
    return Reliability(
        confidence=np.divide(np.bincount(place, top, bins), count, out=empty.copy(), where=count > 0),
        accuracy=np.divide(np.bincount(place, correct, bins), count, out=empty.copy(), where=count > 0),
        count=count,
    )


def expected_calibration_error(answered: Confidences, bins: int = 15) -> float:
    """Mean distance of confidence from accuracy over bins of the top probability, each weighted by its clips: 0 to 1.

    Guo et al. 2017, top label, bins of equal width. With few clips it is too large: the accuracy in a bin of m clips differs by
    up to about 0.4 / sqrt(m) from an exact confidence, by chance.

    Args and errors: see `reliability`.
    """
    binned = reliability(answered, bins)
    distance = np.nan_to_num(np.abs(binned.accuracy - binned.confidence))
    return float((distance * binned.count).sum() / binned.count.sum())


def error_by_chance(bins: Reliability) -> float:
    """Mean ECE of a perfectly calibrated model on as many clips: small bins deviate from their accuracy by chance.

    The number of correct answers among a bin's m clips is binomial; its mean distance from m p is 2 m p (1 - p) times the
    probability of floor(m p) among m - 1 (De Moivre). Slightly too high where confidences differ within a bin, because all are
    replaced by their mean.
    """
    used = bins.count > 0
    clips, p = bins.count[used], bins.confidence[used]
    distance = 2 * clips * p * (1 - p) * scipy.stats.binom.pmf(np.floor(np.minimum(clips * p, clips - 1)), clips - 1, p)
    return float(distance.sum() / clips.sum())


def fit_temperature(logits: Logits, labels: NDArray[np.int64]) -> float | None:
    """Find the temperature with the lowest cross-entropy, from 0.05 to 20 (Guo et al. 2017).

    The cross-entropy has a single minimum in log T. If it lies outside the bounds, the nearer bound is returned, such as 20 for a
    model whose confident answers are wrong. A bound is not an estimate; callers should say so. Returns 1 if no temperature is
    better than 1.

    Args:
        logits: (n, K), finite.
        labels: (n,), from 0 to K - 1.

    Returns:
        None if every answer is correct: the cross-entropy then falls without end as the temperature falls.

    Raises:
        ValueError: no clips.
    """
    if not len(labels):
        raise ValueError("fitting a temperature needs at least one clip")
    if metrics.correct_at_k(logits, labels, 1).all():
        return None

    def loss(temperature: float) -> float:
        return metrics.cross_entropy(logits, labels, temperature)

    bounds = np.log(TEMPERATURES)
    minimum = scipy.optimize.minimize_scalar(
        lambda power: loss(np.exp(power)), bounds=bounds, method="bounded", options={"xatol": 1e-6}
    )
    # The search never tries the bounds themselves. 1 comes first, because constant logits have the same loss everywhere.
    return min((1.0, float(np.exp(minimum.x)), *TEMPERATURES), key=loss)


def confidence_threshold(answered: Confidences, kept: float = KEPT) -> float:
    """Find the top probability below which a prediction is reported as unsure.

    Returns the highest threshold that at least the share `kept` of the correct answers reach (top probability >= threshold). This
    limits the cost on clips of the known classes. How many clips of other classes it rejects is unknown, because there are none
    among the validation clips. Use probabilities with the same temperature as in production.

    Args:
        answered: for validation clips.
        kept: from 0 to 1.

    Returns:
        0 to 1; 0 (no threshold) if fewer than FEWEST_ANSWERS answers are correct.

    Raises:
        ValueError: `kept` or the probabilities are outside 0 to 1, or there are no clips.
    """
    if not 0 <= kept <= 1:
        raise ValueError(f"kept must be from 0 to 1; got {kept}")
    top, correct = _checked(answered)
    sure = np.sort(top[correct])
    # The tolerance absorbs rounding: 0.95 * 20 = 19.000000000000004 needs 19 answers, not 20.
    needed = max(1, int(np.ceil(kept * len(sure) - 1e-9)))
    return float(sure[len(sure) - needed]) if len(sure) >= FEWEST_ANSWERS else 0.0


def _checked(answered: Confidences) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Top probability of each clip, at most 1, and whether that class is the true one: (n,), (n,)."""
    top, correct = answered.top, answered.correct
    if not top.size or top.shape != correct.shape:
        raise ValueError(f"expected a confidence for each of at least one clip; got {top.shape} and {correct.shape}")
    if not (top.min() >= 0 and top.max() <= 1 + 1e-6):
        raise ValueError(f"expected probabilities from 0 to 1; got {top.min()} to {top.max()}")
    return np.minimum(top, 1.0), correct
