"""The comparison in words and Markdown tables, to be read in a terminal as well as rendered."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from actionrec.evaluation import study_results
from actionrec.evaluation.analyses import Analyses
from actionrec.evaluation.comparison import Comparison, chosen_by_validation
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals_and_tests import SIGNIFICANCE
from actionrec.evaluation.trained_models import TrainedModel
from actionrec.report import Timing, analyses, errors, escape_markdown, p_value, percent, table
from actionrec.report.wording import clean, listed, protocol

CONFUSED_PAIRS = 5  # of the best model, in the report
PROTOCOLS = {
    "group": " Group split: clips that come from one source video are all in training, or all in validation, or all in test.",
    "random": " Random split: each clip falls to training, validation or test by chance, whatever video it was cut from.",
    "official": " Official split: lists that come with the data set say which clips are for training and which for testing.",
}


def report(
    comparison: Comparison,
    context: EvaluationContext,
    timings: Mapping[str, Timing],
    confusion: NDArray[np.int64],
    found: Analyses,
    models: Sequence[TrainedModel],
) -> str:
    """Write report.md.

    Args:
        comparison: the models' rows, tests and advice.
        context: what the numbers hold for.
        timings: of every model.
        confusion: (K, K) counts of the best model.
        found: what else was asked of the models.
        models: for the verdicts on their training.
    """
    best = comparison.leaderboard[0].name
    sections = [
        _opening(comparison, context),
        _results(comparison, context),
        _findings(comparison, context),
        _advice(comparison),
        analyses.baselines(found.baselines, comparison, context),
        analyses.order(found.orders, context),
        analyses.health(models),
        errors.audit(found.audit, context),
        analyses.ensembles(found.ensembles, comparison, context),
        analyses.cost(found.costs, context),
        _training_time(comparison, context, timings),
        *([_against_study(comparison, context)] if study_results.is_its_data_set(context.dataset) else []),
        analyses.calibration(found.calibrations, context),
        _errors(comparison, context, confusion),
        errors.class_scores(found.class_scores[best], best, context),
        errors.missed(found.missed, context),
        _pairs(comparison, context),
        _data(context),
        _pictures(comparison),
    ]
    return "\n\n".join(sections) + "\n"


def _opening(comparison: Comparison, context: EvaluationContext) -> str:
    lines = [
        f"# Results on {escape_markdown(context.dataset)}",
        f"{len(comparison.leaderboard)} models, {len(context.class_names)} classes. Seed {context.seed}, {context.frames} frames "
        f"a clip, backbone {escape_markdown(context.backbone)} with weights {escape_markdown(context.weights)}."
        f"{PROTOCOLS.get(context.protocol, '')}",
        *_warnings(comparison, context),
    ]
    return "\n\n".join(lines)


def _warnings(comparison: Comparison, context: EvaluationContext) -> list[str]:
    """What a reader must know before the first number; as a list, or nothing."""
    notes = []
    if context.weights == "random":
        notes.append(
            "**The backbone is untrained** (`features.weights: random`): these numbers show that the pipeline runs. They say "
            "nothing about how well any model recognises actions in real footage."
        )
    if not any(one.beats_majority for one in comparison.leaderboard):
        notes.append(
            f"**No model is shown to have learned anything**: always answering the most frequent class would be right for "
            f"{percent(comparison.majority_accuracy)} % of the test clips, and none is significantly better than that."
        )
    if context.sibling_share > 0:
        notes.append(
            f"**The split leaks**: {percent(context.sibling_share)} % of the test clips have a sibling, cut from the same "
            "source video, in training. Expect lower numbers on new videos, by tens of points on some data sets; "
            "`split.protocol: group` keeps siblings together."
        )
    notes += [f"**Look at the split**: {clean(note, 400)}" for note in context.split_warnings]
    if not context.val_clips:
        notes.append(
            "**The epoch was chosen on the test clips** (`split.validation: 0`), so every accuracy is the highest of many "
            "looks at the same clips, and too high by an unknown amount."
        )
    if context.top5_is_trivial:
        notes.append(f"With {len(context.class_names)} classes, top-5 is 100 % for any model and says nothing.")
    if context.classes_without_test_clips:
        names = [clean(name) for name in context.classes_without_test_clips]
        shown = listed(names) if len(names) <= 10 else f"{', '.join(names[:10])} and {len(names) - 10} more"
        notes.append(f"No test clips, so nothing is known about: {shown}.")
    if context.clips_without_group:
        notes.append(
            f"**{context.clips_without_group:,} of {context.clips:,} clips have names that tell no source video** "
            "(`_g<number>_c`, as in `v_Diving_g07_c02.avi`): each is taken for a source of its own. If several were cut from one "
            "video, they may stand on both sides of the split, and the numbers are too high."
        )
    if context.duplicated_clips:
        notes.append(f"{context.duplicated_clips:,} clips are byte for byte the same as another one.")
    return ["## Before you read the numbers", "\n".join(f"- {note}" for note in notes)] if notes else []


def _results(comparison: Comparison, context: EvaluationContext) -> str:
    with_val = comparison.leaderboard[0].val_top1 is not None
    several = comparison.leaderboard[0].std is not None
    header = ["#", "model", "top-1 %", *(["± seeds"] if several else []), "95 % interval", "Wilson"]
    header += ["top-5 %", "95 % interval", "mean class %"]
    header += [*(["val top-1 %"] if with_val else []), "parameters", "top-1 % / M", "best epoch"]
    rows = []
    for one in comparison.leaderboard:
        row = [str(one.rank), one.name, percent(one.top1), *([] if one.std is None else [percent(one.std)])]
        row += [f"{percent(ends.low)}–{percent(ends.high)}" for ends in (one.interval, one.wilson)]
        row += [percent(one.top5), f"{percent(one.top5_interval.low)}–{percent(one.top5_interval.high)}", percent(one.mean_class)]
        row += [percent(one.val_top1)] if one.val_top1 is not None else []
        row += [f"{one.parameters:,}", f"{one.efficiency:.1f}", f"{one.best_epoch} of {one.epochs}"]
        rows.append(row)
    return "\n\n".join(
        [
            "## Results",
            protocol(context),
            table(header, rows, "rl" + "r" * (len(header) - 2)),
            "Ranked by top-1 on the test clips, then mean class, then fewer parameters. "
            + ("Top-1: mean and deviation over the seeds; the rest is of the saved model. " if several else "")
            + f"95 % interval: from a bootstrap of the {context.test_sources:,} sources that the test clips come from. Wilson: "
            "as if clips of one source were independent. Mean class: every class counts alike. "
            "Top-1 % / M: efficiency, top-1 percent for each million of parameters. Always answering the most "
            f"frequent class: {percent(comparison.majority_accuracy)} %.",
        ]
    )


def _findings(comparison: Comparison, context: EvaluationContext) -> str:
    first, advice = comparison.leaderboard[0], comparison.advice
    apart = [pair for pair in comparison.pairs if pair.apart]
    behind = [pair.b for pair in apart if pair.a == first.name]
    points = []
    if advice.tied:
        points.append(f"**Tie at the top**: the test cannot tell {listed([first.name, *advice.tied])} apart.")
    if behind:
        points.append(f"**{first.name}** is significantly more accurate than {listed(behind)}.")
    beaten = {one.name: [pair.b for pair in apart if pair.a == one.name] for one in comparison.leaderboard[1:]}
    others = [f"{name} over {listed(worse)}" for name, worse in beaten.items() if worse]
    if others:
        points.append(f"Other significant differences: {'; '.join(others)}.")
    if not apart:
        points.append("No two models differ significantly: their order above may be chance.")
    by_validation = chosen_by_validation(comparison)
    honest = "The first place was itself chosen on the test clips, so its accuracy is a little optimistic."
    if by_validation:
        scores = [f"{name} ({percent(comparison.row(name).top1)} % on test)" for name in by_validation]
        honest += f" Validation accuracy alone, which never saw them, is highest for {listed(scores)}."
    points.append(honest)
    points.append(
        f"Significant: p < {SIGNIFICANCE} in two tests, each Holm-corrected over all {len(comparison.pairs)} pairs: exact McNemar "
        f"on the {context.test_clips:,} test clips, and a paired test that exchanges two models on whole sources "
        f"({context.test_sources:,}), as clips of one source are right or wrong together. "
        + (
            "One training run a model: another seed may order them otherwise (`train.seeds`)."
            if context.seeds == 1
            else f"{context.seeds} training runs a model: the test on sources is about their mean, McNemar about the saved ones."
        )
        + " [docs/protocols.md](../docs/protocols.md) explains these."
    )
    return "## What the numbers allow to say\n\n" + "\n".join(f"- {point}" for point in points)


def _advice(comparison: Comparison) -> str:
    advice = comparison.advice

    def described(name: str) -> str:
        one = comparison.row(name)
        return f"{percent(one.top1)} %, {one.parameters / 1e6:.2f} M parameters"

    points = [f"**Most accurate: {advice.most_accurate}** ({described(advice.most_accurate)})"]
    if advice.tied:
        cheapest = "it" if advice.cheapest_tied == advice.most_accurate else f"**{advice.cheapest_tied}**"
        points[0] += f": a tie with {listed(advice.tied)}, of which {cheapest} is the cheapest"
    smallest = f"**Smallest: {advice.smallest}** ({described(advice.smallest)})"
    test = comparison.against_first(advice.smallest)
    if test is not None:
        gap = f"{100 * test.difference:.1f} points below {test.a}"
        smallest += f": {gap}, a {'significant difference' if test.apart else 'gap that may be chance'}"
    points.append(smallest)
    points.append(f"**Balanced: {advice.balanced}** ({described(advice.balanced)})")
    by_reason: dict[str, list[str]] = {}
    for name, reason in advice.avoid.items():
        by_reason.setdefault(reason, []).append(name)
    points += [f"**Avoid: {listed(names)}**: {reason}" for reason, names in by_reason.items()] or ["**Avoid:** none"]
    all_avoided = len(advice.avoid) == len(comparison.leaderboard)
    return "\n\n".join(
        [
            "## Which one to deploy",
            *(["None of them; by the numbers alone:"] if all_avoided else []),
            "\n".join(f"- {point}." for point in points),
            "Rules. Avoid: not significantly better than always answering the most frequent class, or another model is "
            "significantly more accurate and no larger. Smallest: fewest parameters. Balanced: highest efficiency among the "
            "first and those tied with it. Smallest, balanced and cheapest pass over models to avoid, unless all are.",
        ]
    )


def _training_time(comparison: Comparison, context: EvaluationContext, timings: Mapping[str, Timing]) -> str:
    order = [one.name for one in comparison.leaderboard]
    rows = [
        [
            name,
            f"{timings[name].train_seconds:.1f}",
            f"{timings[name].clips_per_second:,.0f}",
            escape_markdown(timings[name].device),
        ]
        for name in order
    ]
    total = sum(timings[name].train_seconds for name in order)
    notes = f"{total:.1f} s in all, features already extracted; {context.train_clips:,} training clips."
    notes += " Timings vary from run to run."
    if len({timings[name].device for name in order}) > 1:
        notes += " **The models were trained on different devices: do not compare their times.**"
    header = ["model", "training s", "clips/s", "device"]
    return f"## Training time\n\n{protocol(context)}\n\n{table(header, rows, 'lrrl')}\n\n{notes}"


def _against_study(comparison: Comparison, context: EvaluationContext) -> str:
    rows = []
    for one in comparison.leaderboard:
        theirs = study_results.RESULTS.get(one.name)
        if theirs is None:
            continue
        rows.append(
            [
                one.name,
                f"{percent(one.top1)} ({percent(one.interval.low)}–{percent(one.interval.high)})",
                f"{theirs.top1_percent:.2f} ({percent(theirs.interval.low)}–{percent(theirs.interval.high)})",
                f"{100 * one.top1 - theirs.top1_percent:+.1f}",
                percent(one.top5),
                f"{theirs.top5_percent:.2f}",
                f"{one.parameters:,}",
                f"{theirs.parameters:,}",
            ]
        )
    header = ["model", "top-1 % here", "top-1 % study", "difference", "top-5 % here", "study", "parameters here", "study"]
    return "\n\n".join(
        [
            "## Beside the study",
            f"{protocol(context)}  \nThe study's protocol: {study_results.PROTOCOL}; {study_results.DEVICE}. "
            f"Source: {study_results.SOURCE}.",
            table(header, rows, "lrrrrrrr"),
            f"About {100 * study_results.TEST_CLIPS_WITH_SIBLING_IN_TRAINING:.1f} % of the study's test clips have a sibling from "
            f"the same source video in training (here: {percent(context.sibling_share)} %), which raises its numbers. A difference "
            "between two protocols is no verdict on either's models, and no test is made on it. The study's intervals are "
            "computed here from its published percentages.",
        ]
    )


def _errors(comparison: Comparison, context: EvaluationContext, confusion: NDArray[np.int64]) -> str:
    best = comparison.leaderboard[0].name
    wrong = confusion - np.diag(np.diag(confusion))
    totals = confusion.sum(axis=1)
    # Most frequent first; among equals, in the order of the classes.
    worst = [divmod(int(index), len(wrong)) for index in np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED_PAIRS]]
    rows = [
        [
            escape_markdown(context.class_names[true]),
            escape_markdown(context.class_names[said]),
            f"{wrong[true, said]} of {totals[true]}",
        ]
        for true, said in worst
        if wrong[true, said]
    ]
    body = table(["true class", "taken for", "test clips"], rows, "llr") if rows else "None: every test clip is right."
    return f"## Commonest errors of {best}\n\n{protocol(context)}\n\n{body}"


def _pairs(comparison: Comparison, context: EvaluationContext) -> str:
    rows = [
        [
            pair.a,
            pair.b,
            f"{100 * pair.difference:+.1f}",
            f"{100 * pair.interval.low:+.1f} to {100 * pair.interval.high:+.1f}",
            str(pair.only_a_right),
            str(pair.only_b_right),
            p_value(pair.p_holm),
            p_value(pair.p_sources_holm),
            pair.verdict,
        ]
        for pair in comparison.pairs
    ]
    header = ["a", "b", "a − b, points", "95 % interval", "only a right", "only b right", "p McNemar", "p sources", "verdict"]
    note = "Both p-values are Holm-corrected over all pairs. Interval: of the difference, from whole sources, not corrected."
    return f"## All pairs\n\n{protocol(context)}\n\n{table(header, rows, 'llrrrrrrl')}\n\n{note}"


def _data(context: EvaluationContext) -> str:
    rows = [
        ["clips in the data set", f"{context.clips:,}"],
        ["of these: not decodable, left out", f"{context.failed:,}"],
        [f"of these: fewer than {context.frames} frames, padded", f"{context.padded:,}"],
        ["training clips", f"{context.train_clips:,}"],
        ["validation clips", f"{context.val_clips:,}"],
        ["test clips", f"{context.test_clips:,}"],
        ["test clips with a known sibling in training", f"{percent(context.sibling_share)} %"],
    ]
    return f"## Data\n\n{protocol(context)}\n\n{table(['what', 'count'], rows, 'lr')}"


def _pictures(comparison: Comparison) -> str:
    lines = [
        "## Pictures",
        "![All models: top-1, top-5, training time, parameters](../plots/model_comparison.png)",
        "![Top-1 with intervals, ties, ensembles and baselines](../plots/accuracy_intervals.png)",
        "![Accuracy against operations and latency](../plots/accuracy_against_cost.png)",
        "![Frames shuffled, reversed, repeated](../plots/order_of_frames.png)",
        "![Confidence against accuracy](../plots/reliability.png)",
        "![Training curves of all models](../plots/all_models_grid.png)",
        "\n".join(
            f"- {one.name}: [curves](../plots/{one.name}_curves.png), [confusion matrix](../plots/{one.name}_confusion.png)"
            for one in comparison.leaderboard
        ),
    ]
    return "\n\n".join(lines)
