"""The comparison's outcome for the terminal: a short table, the verdict, and where to read on."""

from actionrec.core import paths
from actionrec.core.text import percent
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.report import table
from actionrec.report.wording import listed, span


def outcome(comparison: Comparison, context: EvaluationContext) -> str:
    """The models by rank, and which one to deploy; model names are file names, so nothing is escaped."""
    rows = [
        [str(row.rank), row.name, percent(row.top1), span(row.interval), percent(row.top5), f"{row.parameters:,}"]
        for row in comparison.leaderboard
    ]
    header = ["#", "model", "top-1 %", "95 % interval", "top-5 %", "parameters"]
    return "\n".join([context.phrase, "", table(header, rows, "rlrrrr"), "", *_verdict(comparison, context)])


def _verdict(comparison: Comparison, context: EvaluationContext) -> list[str]:
    advice = comparison.advice
    lines = []
    if context.weights == "random":
        lines.append("The backbone is untrained (features.weights: random): these numbers only show that the pipeline runs.")
    if len(advice.avoid) == len(comparison.leaderboard):
        lines.append("No model is recommended.")
    elif advice.tied:
        lines.append(f"The tests find no difference between {listed([advice.most_accurate, *advice.tied])}.")
        lines.append(f"Deploy {advice.cheapest_tied}: the cheapest of them.")
    else:
        lines.append(f"Deploy {advice.most_accurate}: significantly more accurate than every other model.")
    lines.append(f"Report: {paths.REPORT}. Charts: {paths.PLOTS}.")
    return lines
