"""Risk against coverage: how many answers are wrong if a model answers only where it is confident (Geifman and El-Yaniv 2017).

Coverage is the share of the clips that get an answer, risk the share of these answers that are wrong; both from 0 to 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation import calibration
from actionrec.evaluation.trained_models import TrainedModel

_DIGITS = 9  # of confidences: sums over classes in another order differ in the last bits, and equal answers must stay equal


@dataclass(frozen=True)
class CoveragePoint:
    """The answers with at least some confidence."""

    confidence: float
    coverage: float
    risk: float
    """0 if there are no such answers."""


@dataclass(frozen=True)
class RiskCoverage:
    """One model's risk at every coverage, on test clips."""

    model: str
    clips: int
    confidence: NDArray[np.float64]
    """(m,) the distinct confidences, from high to low; like the model's answers, calibrated if training fitted a temperature."""
    coverage: NDArray[np.float64]
    """(m,) of the answers with at least that confidence, rising to 1."""
    risk: NDArray[np.float64]
    """(m,)"""
    threshold: float
    """Below it, `predict` marks an answer as unsure; 0 if training fitted no threshold."""

    def within(self, risk: float) -> CoveragePoint | None:
        """The point of the highest coverage with at most that risk; None if even the most confident answers exceed it."""
        places = np.flatnonzero(self.risk <= risk + 1e-12)
        return self._point(places[-1]) if len(places) else None

    @property
    def at_threshold(self) -> CoveragePoint:
        """The answers that are not unsure."""
        reached = int((self.confidence >= round(self.threshold, _DIGITS)).sum())
        return self._point(reached - 1) if reached else CoveragePoint(self.threshold, 0.0, 0.0)

    def _point(self, place: int) -> CoveragePoint:
        return CoveragePoint(float(self.confidence[place]), float(self.coverage[place]), float(self.risk[place]))


def risk_coverage(model: TrainedModel) -> RiskCoverage:
    """Order a model's test answers by confidence, and count errors among the most confident ones.

    On the test clips of the saved model's fold: temperature and threshold are that model's.
    """
    test = model.predictions.saved_test
    answered = calibration.confidences(test.logits, test.labels, model.temperature or 1.0)
    top = answered.top.round(_DIGITS)
    order = np.argsort(-top, kind="stable")
    confidence = top[order]
    wrong = np.cumsum((~answered.correct)[order])
    last = np.flatnonzero(np.append(np.diff(confidence) != 0, True))  # equal confidences get an answer together
    reached = last + 1
    return RiskCoverage(model.name, len(top), confidence[last], reached / len(top), wrong[last] / reached, model.threshold)
