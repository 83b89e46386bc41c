"""Whether a model's confidence can be believed: reliability, temperature, and a threshold below which it is unsure.

n clips, K classes. What is fitted here (a temperature, a threshold) is fitted on validation clips; fitted on the clips that it
is then judged on, it flatters itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # which loads scipy.optimize, a second's work, where it is first used
from numpy.typing import NDArray

from actionrec.evaluation import metrics

TEMPERATURES = (0.05, 20.0)  # what `fit_temperature` chooses from
KEPT = 0.95  # share of the correct validation answers that `confidence_threshold` keeps
# Correct answers that it needs. A threshold from 60 keeps 86 to 98 % of the correct answers to come (95 % interval of the beta
# distribution of an order statistic); one from 16, at their lowest confidence, 79 to 100 %.
FEWEST_ANSWERS = 60


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
        temperature: above 0; above 1 it makes the answers less sure. It never changes which class is the most probable.

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


def reliability(probabilities: NDArray[np.floating], labels: NDArray[np.int64], bins: int = 15) -> Reliability:
    """Compare confidence with accuracy in bins of the top probability (Guo et al. 2017, arXiv 1706.04599).

    Bin i of `bins` holds the clips with a top probability above i / bins and up to (i + 1) / bins, as there; 0 is in the first.

    Args:
        probabilities: (n, K), rows that sum to 1.
        labels: (n,), from 0 to K - 1.

    Raises:
        ValueError: fewer than 1 bin, no clips, or probabilities outside 0 to 1 (logits, perhaps).
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1; got {bins}")
    top, correct = _top(probabilities, labels)
    # Against the bins' edges themselves: rounding of top * bins would move a probability that lies on an edge.
    place = np.clip(np.searchsorted(np.arange(bins + 1) / bins, top, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    empty = np.full(bins, np.nan)
    return Reliability(
        confidence=np.divide(np.bincount(place, top, bins), count, out=empty.copy(), where=count > 0),
        accuracy=np.divide(np.bincount(place, correct, bins), count, out=empty.copy(), where=count > 0),
        count=count,
    )


def expected_calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.int64], bins: int = 15) -> float:
    """Mean distance of confidence from accuracy over bins of the top probability, each weighted by its clips: 0 to 1.

    Guo et al. 2017, top label, bins of equal width. Of few clips it is too large: a bin of m clips lies up to about
    0.4 / sqrt(m) off its accuracy even where the confidence is right.

    Args and errors: see `reliability`.
    """
    found = reliability(probabilities, labels, bins)
    apart = np.nan_to_num(np.abs(found.accuracy - found.confidence))
    return float((apart * found.count).sum() / found.count.sum())


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float | None:
    """Find the temperature with the lowest cross-entropy, from 0.05 to 20 (Guo et al. 2017).

    The cross-entropy has a single minimum in log T. Where it lies outside the bounds, the bound itself is returned: 20 for a
    model that knows less than nothing (its sure answers are wrong). That is no estimate; a caller that finds one should say so.
    Where none is better than 1, it is 1.

    Args:
        logits: (n, K), finite.
        labels: (n,), from 0 to K - 1.

    Returns:
        None where every answer is correct: any sharper would be better still, and there is no error to learn a measure from.

    Raises:
        ValueError: no clips.
    """
    if not len(labels):
        raise ValueError("a temperature cannot be fitted on no clips")
    if metrics.correct_at_k(logits.astype(np.float32), labels, 1).all():
        return None

    def loss(temperature: float) -> float:
        scaled: Any = logits.astype(np.float64) / temperature  # metrics speaks of float32, and computes in float64
        return metrics.cross_entropy(scaled, labels)

    bounds = np.log(TEMPERATURES)
    found = scipy.optimize.minimize_scalar(
        lambda power: loss(np.exp(power)), bounds=bounds, method="bounded", options={"xatol": 1e-6}
    )
    # The search never tries the bounds themselves; 1 comes first, for logits that are the same at every temperature.
    return min((1.0, float(np.exp(found.x)), *TEMPERATURES), key=loss)


def confidence_threshold(probabilities: NDArray[np.floating], labels: NDArray[np.int64], kept: float = KEPT) -> float:
    """Find the top probability below which a prediction is better shown as unsure.

    The highest threshold that at least the share `kept` of the correct answers reach (reach: top probability >= threshold). It
    says what the threshold costs on clips of the known classes and nothing about how many strange clips it stops: no clip of
    another class was seen. Probabilities must have the temperature that they will have in use.

    Args:
        probabilities: (n, K) of validation clips.
        labels: (n,), from 0 to K - 1.
        kept: from 0 to 1.

    Returns:
        0 to 1; 0, no threshold, where fewer than FEWEST_ANSWERS answers are correct.

    Raises:
        ValueError: `kept` or the probabilities are outside 0 to 1, or there are no clips.
    """
    if not 0 <= kept <= 1:
        raise ValueError(f"kept must be from 0 to 1; got {kept}")
    top, correct = _top(probabilities, labels)
    sure = np.sort(top[correct])
    # The tolerance keeps a rounded product (0.95 * 20 = 19.000000000000004) from asking for one more answer.
    needed = max(1, int(np.ceil(kept * len(sure) - 1e-9)))
    return float(sure[len(sure) - needed]) if len(sure) >= FEWEST_ANSWERS else 0.0


def _top(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Top probability of each clip, and whether that class is the true one: (n,), (n,)."""
    if not probabilities.size or len(probabilities) != len(labels):
        raise ValueError(f"wanted as many labels as clips, at least one; got {len(labels)} and {probabilities.shape}")
    top = probabilities.max(axis=1).astype(np.float64)
    if not (probabilities.min() >= 0 and top.max() <= 1 + 1e-6):
        raise ValueError(f"wanted probabilities from 0 to 1; got {probabilities.min()} to {top.max()}")
    return np.minimum(top, 1.0), probabilities.argmax(axis=1) == labels
