"""Comparison report in Markdown, readable in a terminal too."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from actionrec.core.text import first_few, percent
from actionrec.evaluation import study_results
from actionrec.evaluation.analyses import Analyses
from actionrec.evaluation.comparison import Comparison, chosen_by_validation
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.significance_tests import SIGNIFICANCE
from actionrec.evaluation.trained_models import Timing, TrainedModel
from actionrec.report import analyses, errors, escape_markdown, p_value, table
from actionrec.report.wording import clean, listed, protocol

CONFUSED_PAIRS = 5  # of the best model, in the report
PROTOCOLS = {
    "group": " Group split: all clips of one source video are in the same subset (training, validation or test).",
    "random": " Random split: each clip is assigned to a subset at random, regardless of its source video.",
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
        comparison: ranking, tests and advice.
        setting: data, split and backbone of the numbers.
        timings: model -> its timings.
        confusion: (K, K) counts of the best model.
        found: the other analyses.
        models: for their training diagnoses.
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
    """What the reader must know before the first number: a section with a list, or nothing."""
    notes = []
    if context.weights == "random":
        notes.append(
            "**The backbone is untrained** (`features.weights: random`). These numbers show that the pipeline runs; they say "
            "nothing about how well any model recognises actions in real footage."
        )
    if not any(one.beats_majority for one in comparison.leaderboard):
        notes.append(
            f"**No model is shown to have learned anything**: none is significantly better than always predicting the most "
            f"frequent class, which is correct for {percent(comparison.majority_accuracy)} % of the test clips."
        )
    if context.sibling_share > 0:
        notes.append(
            f"**The split leaks**: {percent(context.sibling_share)} % of the test clips share a source video with a "
            "training clip. Expect lower accuracy on new videos, by tens of points on some data sets. "
            "`split.protocol: group` avoids this."
        )
    notes += [f"**Check the split**: {clean(note, 400)}" for note in context.split_warnings]
    if not context.val_clips:
        notes.append(
            "**The epoch was chosen on the test clips** (`split.validation: 0`), so every accuracy is too high by an "
            "unknown amount."
        )
    if context.top5_is_trivial:
        notes.append(f"With {len(context.class_names)} classes, top-5 is 100 % for every model.")
    if context.classes_without_test_clips:
        names = first_few([clean(name) for name in context.classes_without_test_clips], 10)
        notes.append(f"No test clips, so no results, for: {names}.")
    if context.clips_without_group:
        notes.append(
            f"**The names of {context.clips_without_group:,} of {context.clips:,} clips do not tell their source video** "
            "(`_g<number>_c`, as in `v_Diving_g07_c02.avi`). Each counts as its own source. If several come from one video, "
            "they can be in both training and test, and the accuracies are too high."
        )
    if context.duplicated_clips:
        notes.append(f"{context.duplicated_clips:,} clips are byte-for-byte copies of another clip.")
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
            + ("Top-1: mean and standard deviation over the seeds; other columns: the saved model. " if several else "")
            + f"95 % interval: bootstrap over the {context.test_sources:,} source videos of the test clips. Wilson: the interval "
            "if clips were independent. Mean class: every class counts equally. "
            "Top-1 % / M: efficiency, top-1 percent per million parameters. Always predicting the most "
            f"frequent class: {percent(comparison.majority_accuracy)} %.",
        ]
    )


def _findings(comparison: Comparison, context: EvaluationContext) -> str:
    first, advice = comparison.leaderboard[0], comparison.advice
    apart = [pair for pair in comparison.pairs if pair.apart]
    behind = [pair.b for pair in apart if pair.a == first.name]
    points = []
    if advice.tied:
        points.append(f"**Tie for the first place**: the tests find no difference from {first.name} for {listed(advice.tied)}.")
    if behind:
        points.append(f"**{first.name}** is significantly more accurate than {listed(behind)}.")
    beaten = {one.name: [pair.b for pair in apart if pair.a == one.name] for one in comparison.leaderboard[1:]}
    others = [f"{name} over {listed(worse)}" for name, worse in beaten.items() if worse]
    if others:
        points.append(f"Other significant differences: {'; '.join(others)}.")
    if not apart:
        points.append("No two models differ significantly: their order can be chance.")
    by_validation = chosen_by_validation(comparison)
    caution = "The first model was chosen on the test clips, so its accuracy is slightly optimistic."
    if by_validation:
        scores = [f"{name} ({percent(comparison.row(name).top1)} % on test)" for name in by_validation]
        caution += f" Chosen by validation accuracy instead, it would be {listed(scores)}."
    points.append(caution)
    points.append(
        f"Significant means p < {SIGNIFICANCE} in two tests, each Holm-corrected over all {len(comparison.pairs)} pairs: the exact "
        f"McNemar test on the {context.test_clips:,} test clips, and a permutation test that swaps two models on whole source "
        f"videos ({context.test_sources:,}), since clips of one source are not independent. "
        + (
            "Each model was trained once; other seeds can change the order (`train.seeds`)."
            if context.seeds == 1
            else f"Each model was trained {context.seeds} times: the permutation test compares means, McNemar the saved models."
        )
        + " [docs/protocols.md](../docs/protocols.md) explains the tests."
    )
    return "## Conclusions\n\n" + "\n".join(f"- {point}" for point in points)


def _advice(comparison: Comparison) -> str:
    advice = comparison.advice

    def described(name: str) -> str:
        one = comparison.row(name)
        return f"{percent(one.top1)} %, {one.parameters / 1e6:.2f} M parameters"

    points = [f"**Most accurate: {advice.most_accurate}** ({described(advice.most_accurate)})"]
    if advice.tied:
        points[0] += f", tied with {listed(advice.tied)}; the cheapest of them is **{advice.cheapest_tied}**"
    smallest = f"**Smallest: {advice.smallest}** ({described(advice.smallest)})"
    test = comparison.against_first(advice.smallest)
    if test is not None:
        gap = f"{100 * test.difference:.1f} points below {test.a}"
        smallest += f": {gap}, {'a significant difference' if test.apart else 'which can be chance'}"
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
            *(["None is recommended. By the numbers alone:"] if all_avoided else []),
            "\n".join(f"- {point}." for point in points),
            "Rules. Avoid: not significantly better than always predicting the most frequent class, or another model is "
            "significantly more accurate and not larger. Smallest: fewest parameters. Balanced: highest efficiency among the "
            "first model and its ties. Smallest, balanced and cheapest skip models to avoid, unless all are to be avoided.",
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
    notes = f"{total:.1f} s in total, without feature extraction; {context.train_clips:,} training clips."
    notes += " Timings vary from run to run."
    if len({timings[name].device for name in order}) > 1:
        notes += " **The models were trained on different devices: do not compare their times.**"
    header = ["model", "training s", "clips/s", "device"]
    return f"## Training time\n\n{protocol(context)}\n\n{table(header, rows, 'lrrl')}\n\n{notes}"


def _against_study(comparison: Comparison, context: EvaluationContext) -> str:
    rows = []
    for one in comparison.leaderboard:
        study = study_results.RESULTS.get(one.name)
        if study is None:
            continue
        rows.append(
            [
                one.name,
                f"{percent(one.top1)} ({percent(one.interval.low)}–{percent(one.interval.high)})",
                f"{study.top1_percent:.2f} ({percent(study.interval.low)}–{percent(study.interval.high)})",
                f"{100 * one.top1 - study.top1_percent:+.1f}",
                percent(one.top5),
                f"{study.top5_percent:.2f}",
                f"{one.parameters:,}",
                f"{study.parameters:,}",
            ]
        )
    header = ["model", "top-1 % here", "top-1 % study", "difference", "top-5 % here", "study", "parameters here", "study"]
    return "\n\n".join(
        [
            "## Comparison with the study",
            f"{protocol(context)}  \nThe study's protocol: {study_results.PROTOCOL}; {study_results.DEVICE}. "
            f"Source: {study_results.SOURCE}.",
            table(header, rows, "lrrrrrrr"),
            f"About {100 * study_results.TEST_CLIPS_WITH_SIBLING_IN_TRAINING:.1f} % of the study's test clips share a source "
            f"video with a training clip (here: {percent(context.sibling_share)} %), which raises its accuracies. The protocols "
            "differ, so the differences are not tested and say nothing about the models. The study's intervals are computed here "
            "from its published percentages.",
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
            escape_markdown(context.class_names[predicted]),
            f"{wrong[true, predicted]} of {totals[true]}",
        ]
        for true, predicted in worst
        if wrong[true, predicted]
    ]
    body = (
        table(["true class", "predicted", "test clips"], rows, "llr") if rows else "None: all test clips are classified correctly."
    )
    return f"## Most frequent errors of {best}\n\n{protocol(context)}\n\n{body}"


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
    header = ["a", "b", "a − b, points", "95 % interval", "only a correct", "only b correct", "p McNemar", "p sources", "verdict"]
    note = "Both p-values are Holm-corrected over all pairs. The interval is of the difference, by source videos, not corrected."
    return f"## All pairs\n\n{protocol(context)}\n\n{table(header, rows, 'llrrrrrrl')}\n\n{note}"


def _data(context: EvaluationContext) -> str:
    rows = [
        ["clips in the data set", f"{context.clips:,}"],
        ["of these: could not be decoded, skipped", f"{context.failed:,}"],
        [f"of these: fewer than {context.frames} frames, padded", f"{context.padded:,}"],
        ["training clips", f"{context.train_clips:,}"],
        ["validation clips", f"{context.val_clips:,}"],
        ["test clips", f"{context.test_clips:,}"],
        ["test clips that share a source video with a training clip", f"{percent(context.sibling_share)} %"],
    ]
    return f"## Data\n\n{protocol(context)}\n\n{table(['what', 'count'], rows, 'lr')}"


def _pictures(comparison: Comparison) -> str:
    lines = [
        "## Plots",
        "![All models: top-1, top-5, training time, parameters](../plots/model_comparison.png)",
        "![Top-1 of models, ensembles and baselines with intervals](../plots/accuracy_intervals.png)",
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
