"""Section of the report on the tuned backbone: its own accuracy, and how much it fits its training clips."""

from actionrec.core.text import percent
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.tuning_result import TuningResult
from actionrec.report.wording import clean, span

_MEAN_POOL = "mean_pool"


def tuning_findings(result: TuningResult | None, comparison: Comparison, context: EvaluationContext) -> list[str]:
    """Sentences in Markdown; none if the backbone is frozen."""
    if result is None:
        return []
    held_out = "validation" if context.val_clips else "test"
    row = next((row for row in comparison.leaderboard if row.name == _MEAN_POOL), None)
    beside = "" if row is None else f" {_MEAN_POOL}, logistic regression on the same features, has {percent(row.top1)} %."
    return [
        f"`tsn`, the tuned {clean(context.backbone)} with its own classifier: {percent(result.top1)} % top-1 on the test clips "
        f"(95 % interval {span(result.interval)} %).{beside}",
        f"Tuning changed {held_out} top-1 from {percent(result.frozen_held_out_top1)} % to {percent(result.held_out_top1)} %, the "
        "best of its epochs.",
        f"The tuned backbone has {percent(result.train_top1)} % top-1 on its training clips, {percent(abs(result.gap))} points "
        f"{'above' if result.gap >= 0 else 'below'} {held_out}. The models above learn from features of clips whose labels it has "
        "seen, so their training accuracy says little.",
    ]
