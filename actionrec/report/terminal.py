"""The comparison's outcome for the terminal: a short table, the headline, and where to read on."""

import textwrap
from collections.abc import Sequence

from actionrec.core import paths
from actionrec.core.text import percent
from actionrec.evaluation.analyses import Baseline
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.report import table
from actionrec.report.headline import headline
from actionrec.report.wording import span

_WIDTH = 110  # characters


def outcome(comparison: Comparison, baselines: Sequence[Baseline], context: EvaluationContext) -> str:
    """The models by rank, and which one to deploy; model names are file names, so nothing is escaped."""
    rows = [
        [str(row.rank), row.name, percent(row.top1), span(row.interval), percent(row.mean_class), f"{row.parameters:,}"]
        for row in comparison.leaderboard
    ]
    header = ["#", "model", "top-1 %", "95 % interval", "mean class %", "parameters"]
    lines = [context.phrase, "", table(header, rows, "rlrrrr"), ""]
    if context.weights == "random":
        lines.append("The backbone is untrained (features.weights: random): these numbers only show that the pipeline runs.")
    lines += [textwrap.fill(line.replace("**", ""), _WIDTH) for line in headline(comparison, baselines, context)]
    return "\n".join([*lines, f"Report: {paths.REPORT}. Charts: {paths.PLOTS}."])
