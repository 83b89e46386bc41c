"""Headline of a comparison: which model to deploy, whether sequence modelling helps, and what would make the answer surer."""

from collections.abc import Sequence
from math import ceil
from statistics import median

from actionrec.core.text import percent
from actionrec.evaluation.advice import Advice
from actionrec.evaluation.analyses import Baseline
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.leaderboard import LeaderboardRow
from actionrec.evaluation.significance_tests import PairedTest
from actionrec.features.settings import RGB_ONLY
from actionrec.report import p_value
from actionrec.report.wording import clean, points, span

_MOST_TIMES_MORE = 20  # more test source videos than that are no help to know


def headline(comparison: Comparison, baselines: Sequence[Baseline], context: EvaluationContext) -> list[str]:
    """Three short paragraphs in Markdown; plain enough for a terminal without its asterisks."""
    return [_deploy(comparison, context), _sequence_modelling(comparison, baselines), _surer(comparison, context)]


def _deploy(comparison: Comparison, context: EvaluationContext) -> str:
    advice = comparison.advice
    row = comparison.row(advice.deploy)
    name, sources = clean(row.name), f"{context.test_clips:,} test clips from {context.test_sources:,} source videos"
    if advice.none_recommended:
        return (
            f"**No model is recommended.** The best, {name}, has {percent(row.top1)} % top-1 on {sources}; that is not shown to be "
            f"better than always predicting the most frequent class ({percent(comparison.majority_accuracy)} %)."
        )
    lead = _margin(advice) if advice.deploy != advice.best else _lead(comparison)
    return (
        f"**Deploy {name}**: {percent(row.top1)} % top-1 on {sources} (95 % interval {span(row.interval)} %). {lead} {_cost(row)}"
    )


def _cost(row: LeaderboardRow) -> str:
    return (
        f"With the backbone it needs {row.total_flops / 1e9:,.2f} GFLOPs per clip and {row.total_params / 1e6:,.1f} M parameters; "
        f"{clean(row.name)} alone, {row.flops / 1e9:,.2f} and {row.parameters / 1e6:,.1f}."
    )


def _margin(advice: Advice) -> str:
    return (
        f"It is the cheapest model that is shown to be within {points(advice.margin)[1:]} points of the best, "
        f"{clean(advice.best)}: it is {points(advice.loss)[1:]} points behind, at most {points(advice.most)[1:]}."
    )


def _lead(comparison: Comparison) -> str:
    if len(comparison.leaderboard) < 2:
        return "There is no other model to compare it with."
    best, second = comparison.row(comparison.advice.best), _rival(comparison)
    if second.rank < best.rank:
        return f"{clean(second.name)} has {percent(second.top1)} %, but is not shown to be better than the most frequent class."
    pair = comparison.pair(best.name, second.name)
    if pair.apart:
        return f"It leads {clean(second.name)} by {_evidence(pair.test)}."
    if pair.test.difference > 0:
        return f"Its lead of {points(pair.test.difference)[1:]} points over {clean(second.name)} can be chance."
    reason = "the lower validation loss decides" if second.val_loss is not None else "the fewer operations decide"
    return f"{clean(second.name)} has the same accuracy; {reason}."


def _rival(comparison: Comparison) -> LeaderboardRow:
    """The model ranked first, or if that is the best one, the second. Of at least two models."""
    first, second = comparison.leaderboard[:2]
    return second if first.name == comparison.advice.best else first


def _evidence(test: PairedTest) -> str:
    low, high = points(test.interval.low), points(test.interval.high)
    return f"{points(test.difference)} points (95 % interval {low} to {high}, p {p_value(test.p)})"


def _sequence_modelling(comparison: Comparison, baselines: Sequence[Baseline]) -> str:
    """The best sequence model against the best baseline."""
    models = [row.name for row in comparison.leaderboard if not row.order_blind]
    if not baselines or not models:
        return "There is no baseline to say what sequence modelling adds."
    best = models[0]
    # A baseline that it is not shown to beat decides, even if it beats another one by less.
    hardest = min(baselines, key=lambda one: (one.gains[best].verdict == "better", one.gains[best].difference))
    test = hardest.gains[best]
    versus = f"{clean(best)} against {clean(hardest.name)}, which ignores the order of frames: {_evidence(test)}"
    if all(baseline.gains[best].verdict == "better" for baseline in baselines):
        return f"**Sequence modelling helps.** {versus}."
    if test.verdict == "worse":
        return f"**Sequence modelling does not help here.** {versus}."
    return f"**Whether sequence modelling helps is not shown.** {versus}."


def _sources_for_the_lead(comparison: Comparison, context: EvaluationContext) -> list[str]:
    """How many test source videos would show the lead: the detectable difference shrinks with the square root of their number."""
    advice = comparison.advice
    if len(comparison.leaderboard) < 2 or advice.deploy != advice.best:
        return []
    second = _rival(comparison)
    if second.rank < comparison.row(advice.best).rank:
        return []
    test = comparison.pair(advice.best, second.name).test
    if test.is_real or test.difference <= 0 or not test.detectable:
        return []
    needed = ceil(context.test_sources * (test.detectable / test.difference) ** 2)
    if not context.test_sources < needed <= _MOST_TIMES_MORE * context.test_sources:
        return []
    return [
        f"About {needed:,} would usually show that a lead of {points(test.difference)[1:]} points over {clean(second.name)} is "
        "real."
    ]


def _surer(comparison: Comparison, context: EvaluationContext) -> str:
    advice, sentences = comparison.advice, []
    detectable = [pair.test.detectable for pair in comparison.pairs if pair.a == advice.best and pair.test.detectable]
    if detectable:
        smallest = min(1.0, median(detectable))
        sentences.append(
            f"With {context.test_sources:,} source videos, a difference between two models below about {100 * smallest:.0f} points "
            "will usually be missed."
        )
    sentences += _sources_for_the_lead(comparison, context)
    other = advice.alternative
    if other and other.sources <= _MOST_TIMES_MORE * context.test_sources:
        sentences.append(
            f"About {other.sources:,} test source videos would show whether {clean(other.name)}, which is cheaper, is within "
            f"{points(advice.margin)[1:]} points of {clean(advice.best)}."
        )
    if context.evaluated_folds == 1:
        sentences.append(
            f"Only {context.folds_phrase} was tested: `dvc exp run -S evaluation.folds=all` tests every "
            f"{'list' if context.protocol == 'official' else 'fold'}, on the same features."
        )
    if context.seeds == 1:
        sentences.append("Each model was trained once: `dvc exp run -S 'train.seeds=[0,1,2]'` shows how much chance decides.")
    if context.streams == RGB_ONLY and not context.is_video and context.dataset != "sample":
        sentences.append(
            "The features show single frames: `dvc exp run -S 'features.streams=[rgb,diff]'` adds the differences of neighbouring "
            "frames, which show motion, and decodes no clip again."
        )
    return f"**To be surer**: {' '.join(sentences)}" if sentences else "Every fold was tested, with several seeds."
