"""Report section on risk and coverage: how many answers a model can give if few of them may be wrong."""

from actionrec.core.text import percent
from actionrec.evaluation.calibration import FEWEST_ANSWERS, KEPT
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.risk_coverage import CoveragePoint, RiskCoverage
from actionrec.report import table
from actionrec.report.wording import clean, section

RISKS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Allowed shares of wrong answers, one row of the table each."""


def unsure_answers(one: RiskCoverage) -> str:
    """What marking answers as unsure achieves on the test clips."""
    name = clean(one.model)
    if not one.threshold:
        return f"{name} marks no answer as unsure: a threshold needs {FEWEST_ANSWERS} correct answers on validation clips."
    point = one.at_threshold
    return (
        f"{name} marks answers with a confidence below {percent(one.threshold)} % as unsure. On the test clips the others are "
        f"{percent(point.coverage)} % of its answers, and {percent(point.risk)} % of them are wrong, against "
        f"{percent(float(one.risk[-1]))} % of all answers."
    )


def risk_section(one: RiskCoverage, context: EvaluationContext) -> str:
    """Coverage at several levels of risk, and at the model's threshold."""
    rows = []
    for risk in RISKS:
        point = one.within(risk)
        rows.append([f"at most {percent(risk)} %", *_cells(point, one.clips)])
        if point and point.coverage == 1:
            break  # all clips get an answer at the higher levels, too
    threshold = ""
    if one.threshold:
        rows.append([f"threshold of {percent(one.threshold)} %", *_cells(one.at_threshold, one.clips)])
        threshold = f" The threshold was chosen on validation clips: {percent(KEPT)} % of the correct answers reach it."
    own_clips = (
        f"On the {one.clips:,} test clips of fold {context.fold}, whose models are saved. " if context.evaluated_folds > 1 else ""
    )
    return section(
        f"Risk and coverage of {clean(one.model)}",
        table(["risk allowed", "coverage %", "clips answered", "risk %", "lowest confidence %"], rows, "lrrrr"),
        f"{own_clips}Coverage: share of the test clips that get an answer, the most confident first. "
        "Risk: share of these answers that are "
        f"wrong. The levels were read off the test clips themselves, so expect a higher risk on new clips.{threshold} "
        "[risk_coverage.png](../plots/risk_coverage.png) has the curves of all models.",
    )


def _cells(point: CoveragePoint | None, clips: int) -> list[str]:
    if point is None:
        return ["0.0", "0", "", ""]
    return [percent(point.coverage), f"{round(point.coverage * clips):,}", percent(point.risk), percent(point.confidence)]
