"""Logits of clips: of all classes, or, of many classes, those of the likeliest and a summary of the others.

n clips, K classes. Logits of 230,000 clips and 700 classes take 0.6 GB, and a file of predictions has at least five tables of them.
With more than MOST_DENSE classes, only the KEPT likeliest classes of each clip are kept. They are enough for a clip's answer, the
rank of its class, its confidence and its loss.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy  # loads scipy.interpolate on first use
from numpy.typing import NDArray

MOST_DENSE = 200
"""With at most so many classes, all logits are kept. Data sets with more have several hundred classes and many clips."""
KEPT = 20
"""Classes of each clip that are kept if there are more than MOST_DENSE."""
TEMPERATURES = np.geomspace(0.05, 20, 9)
"""At which the sums over the other classes are kept: the range of `calibration.fit_temperature`, with 1 in the middle."""
REST_COLUMNS = 1 + len(TEMPERATURES)
BLOCK = 4_000_000
"""Logits that are converted to float64 at a time: 32 MB."""


@dataclass(frozen=True)
class TopLogits:
    """The k classes with the highest logits of each clip. If the clip's own class is not among them, it replaces the last.

    Of the other classes, the highest logit and the log of the sum of exp(logit / T) at each of TEMPERATURES are known, so answers,
    losses and confidences are exact. At temperatures T between these, the logs are interpolated.
    """

    classes: NDArray[np.int32]
    """(n, k), from the highest logit to the lowest; of equal logits, the lower number first."""
    values: NDArray[np.float32]
    """(n, k), the logits of these classes."""
    rest: NDArray[np.float32]
    """(n, REST_COLUMNS), of the other classes: the highest logit h, and log(sum(exp((logits - h) / T))) at each of TEMPERATURES."""
    class_count: int
    """K, above k."""

    @classmethod
    def of(cls, logits: NDArray[np.float32], labels: NDArray[np.int64], kept: int = KEPT) -> Self:
        """Keep the highest of logits (n, K).

        Args:
            labels: (n,), from 0 to K - 1.
            kept: k, from 2 to K - 1.
        """
        count, class_count = logits.shape
        parts = [cls._of_block(logits[block], labels[block], kept) for block in blocks(count, class_count)]
        rest = np.empty((0, REST_COLUMNS), np.float32)
        empty = cls(np.empty((0, kept), np.int32), np.empty((0, kept), np.float32), rest, class_count)
        return empty.joined(parts)

    @classmethod
    def _of_block(cls, logits: NDArray[np.float32], labels: NDArray[np.int64], kept: int) -> Self:
        classes = np.sort(np.argpartition(-logits, kept - 1, axis=1)[:, :kept], axis=1)
        values = np.take_along_axis(logits, classes, axis=1)
        # argpartition keeps any of the classes that are equal to the lowest kept one, not those with the lowest numbers.
        lowest = values.min(axis=1, keepdims=True)
        arbitrary = (logits == lowest).sum(axis=1) > (values == lowest).sum(axis=1)
        classes[arbitrary] = np.sort(np.argsort(-logits[arbitrary], axis=1, kind="stable")[:, :kept], axis=1)
        values = np.take_along_axis(logits, classes, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        classes = np.take_along_axis(classes, order, axis=1)
        lower = ~(classes == labels[:, None]).any(axis=1)
        classes[lower, -1] = labels[lower]
        values = np.take_along_axis(logits, classes, axis=1)
        others = logits.copy()
        np.put_along_axis(others, classes, -np.inf, axis=1)
        highest = others.max(axis=1)
        others -= highest[:, None]
        log_sums = [np.log(np.exp(others / np.float32(one)).sum(axis=1, dtype=np.float64)) for one in TEMPERATURES]
        rest = np.column_stack([highest, *log_sums]).astype(np.float32)
        return cls(classes.astype(np.int32), values, rest, logits.shape[1])

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Self:
        return type(self)(self.classes[rows], self.values[rows], self.rest[rows], self.class_count)

    def joined(self, others: Sequence[Self]) -> Self:
        """These and the other clips, in that order."""
        parts = [self, *others]
        return type(self)(
            np.concatenate([one.classes for one in parts]),
            np.concatenate([one.values for one in parts]),
            np.concatenate([one.rest for one in parts]),
            self.class_count,
        )

    def rank(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) how many classes are likelier than the clip's own, at most k - 1.

        Raises:
            ValueError: a label is not that of its clip.
        """
        own = self.classes == labels[:, None]
        if not own.any(axis=1).all():
            raise ValueError("the kept classes lack a clip's own: these are labels of other clips")
        return own.argmax(axis=1)

    def own(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n,) the logits of the clips' own classes."""
        return np.take_along_axis(self.values, self.rank(labels)[:, None], axis=1)[:, 0]

    def log_sum(self, temperature: float = 1.0) -> NDArray[np.float64]:
        """(n,) log(sum(exp(logits / temperature))) over all classes."""
        scaled = self.values.astype(np.float64) / temperature
        highest = scaled.max(axis=1)
        kept = highest + np.log(np.exp(scaled - highest[:, None]).sum(axis=1))
        return np.logaddexp(kept, self._log_rest(temperature))

    def probabilities(self, temperature: float = 1.0, *, with_label: bool = True) -> NDArray[np.float64]:
        """(n, K): softmax(logits / temperature); the classes that are not kept share equally what they have together.

        Args:
            with_label: False treats the last kept class as one that is not kept, because it may be there only as the clip's own.
                Exact for a label and approximate for the other classes, a mean over models would favour the label.
        """
        total = self.log_sum(temperature)
        kept = np.exp(self.values.astype(np.float64) / temperature - total[:, None])
        others = np.exp(self._log_rest(temperature) - total)
        classes = self.classes
        if not with_label:
            classes, others, kept = classes[:, :-1], others + kept[:, -1], kept[:, :-1]
        shares = np.repeat(others[:, None] / (self.class_count - classes.shape[1]), self.class_count, axis=1)
        np.put_along_axis(shares, classes, kept, axis=1)
        return shares

    def _log_rest(self, temperature: float) -> NDArray[np.float64]:
        """(n,) log(sum(exp(logits / temperature))) over the classes that are not kept.

        The logs of the sums relative to the highest logit are interpolated by a cubic spline in log(temperature). They lie between
        0, of one class, and that of the number of classes, of equal logits.
        """
        log_sums = self.rest[:, 1:].astype(np.float64) @ _spline_weights(temperature)
        log_count = np.log(self.class_count - self.classes.shape[1])
        return self.rest[:, 0].astype(np.float64) / temperature + np.clip(log_sums, 0.0, log_count)


def _spline_weights(temperature: float) -> NDArray[np.float64]:
    """Weights of the values at TEMPERATURES in their cubic spline; outside, those at the nearer end."""
    spline = scipy.interpolate.CubicSpline(np.log(TEMPERATURES), np.eye(len(TEMPERATURES)))
    weights: NDArray[np.float64] = spline(np.log(np.clip(temperature, TEMPERATURES[0], TEMPERATURES[-1])))
    return weights


Logits = NDArray[np.float32] | TopLogits
"""Logits of n clips: (n, K), or of many classes the highest."""


def compact(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Logits:
    """Logits (n, K), of more than MOST_DENSE classes only the highest."""
    return logits if logits.shape[1] <= MOST_DENSE else TopLogits.of(logits, labels)


def joined(tables: Sequence[Logits]) -> Logits:
    """The clips of at least one table, all of one form, in that order.

    Raises:
        ValueError: some tables have all logits, and others the highest alone.
    """
    tops = [one for one in tables if isinstance(one, TopLogits)]
    dense = [one for one in tables if not isinstance(one, TopLogits)]
    if tops and dense:
        raise ValueError(f"{len(dense)} tables have all logits, and {len(tops)} the highest alone; they cannot be joined")
    return tops[0].joined(tops[1:]) if tops else np.concatenate(dense)


def answers(logits: Logits) -> NDArray[np.int64]:
    """(n,) the likeliest class of each clip; of equal logits, the one with the lower number."""
    return logits.classes[:, 0].astype(np.int64) if isinstance(logits, TopLogits) else logits.argmax(axis=1)


def class_count(logits: Logits) -> int:
    """K."""
    return logits.class_count if isinstance(logits, TopLogits) else logits.shape[1]


def blocks(clips: int, classes: int) -> Iterator[slice]:
    """Slices of clips that together have about BLOCK logits each."""
    step = max(1, BLOCK // classes)
    return (slice(start, min(start + step, clips)) for start in range(0, clips, step))
