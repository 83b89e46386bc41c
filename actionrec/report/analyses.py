"""Sections of the report on what lies behind the ranking: baselines, order of frames, training, confidence, ensembles, cost."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from actionrec.evaluation.analyses import Baseline, Calibration, Ensemble, ModelCost, Order
from actionrec.evaluation.calibration import TEMPERATURES, Reliability
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.trained_models import TrainedModel
from actionrec.report import percent, table
from actionrec.report.wording import (
    DIFFERENCE_HEADER,
    DIFFERENCE_NOTE,
    bullets,
    clean,
    difference_cells,
    listed,
    powerless,
    protocol,
    saved_run,
    section,
    span,
)

ORDER_TITLE = "Does the order of frames matter"

LEARNED = "learned"
REMEDIES = {
    "diverged": "lower `learning_rate`, raise `warmup_epochs`, or set `clip_norm`",
    "at chance": "another `learning_rate`, `warmup_epochs` or `clip_norm` first: so far this says nothing of the architecture",
    "overfitted": "more clips, or a higher `dropout` or `weight_decay`; the epoch that is kept may be good all the same",
    "still improving": "raise `train.epochs`",
}


def baselines(baselines: Sequence[Baseline], comparison: Comparison, context: EvaluationContext) -> str:
    """What sequence models have over logistic regression that sees no order: two tables, and in words for which models.

    Args:
        baselines: at least one, each with a gain for every model of the comparison.
    """
    models = [row.name for row in comparison.leaderboard]
    ways = [[clean(one.name), percent(one.top1), span(one.interval), f"{one.parameters:,}"] for one in baselines]
    gains = [[clean(name), clean(one.name), *difference_cells(one.gains[name])] for name in models for one in baselines]
    runs = f" Models: mean over {context.seeds} training runs." if context.seeds > 1 else ""
    return section(
        "What sequence models add",
        protocol(context),
        table(["baseline", "top-1 %", "95 % interval", "parameters"], ways, "lrrr"),
        "Baselines: logistic regression on the mean of a clip's features over time, or on its middle frame alone. Neither sees any "
        "order of frames. p is corrected over the models, for each baseline: to add something is to be better than every baseline.",
        table(["model", "over the baseline", *DIFFERENCE_HEADER], gains, "llrrrl"),
        bullets(_added(baselines, models)),
        powerless(len(models), context),
        f"{DIFFERENCE_NOTE}{runs}",
    )


def _added(baselines: Sequence[Baseline], models: Sequence[str]) -> list[str]:
    verdicts = {name: {one.name: one.gains[name].verdict for one in baselines} for name in models}
    better = [name for name in models if set(verdicts[name].values()) == {"better"}]
    than = "every baseline" if len(baselines) > 1 else clean(baselines[0].name)
    lines = []
    if better:
        lines.append(
            f"**Sequence modelling adds something here** for {listed([clean(name) for name in better])}: better than {than}. "
            f'That may be the order of frames or just a larger model; "{ORDER_TITLE}" tells.'
        )
    else:
        lines.append(f"**Sequence modelling is not shown to add anything here**: no model is better than {than}.")
    rest = [name for name in models if name not in better]
    if better and rest:
        lines.append(f"Not shown to add anything: {listed([clean(name) for name in rest])}.")
    for name in rest:
        beaten_by = [clean(baseline) for baseline, verdict in verdicts[name].items() if verdict == "worse"]
        if beaten_by:
            lines.append(f"**{clean(name)} is worse than {listed(beaten_by)}**: a simpler way does better with the same features.")
    return lines


def order(orders: Sequence[Order], context: EvaluationContext) -> str:
    """Which models lose accuracy when the frames of the test clips are put in another order.

    Args:
        orders: at least one; all with the same changes, `shuffled` among them.
    """
    verdicts = {"better": "uses the order", "tie": "not shown", "worse": "better shuffled"}
    changes = list(orders[0].changed)
    rows = [
        [
            clean(one.model),
            percent(one.top1),
            *(percent(one.changed[change]) for change in changes),
            *difference_cells(one.shuffling, verdicts[one.shuffling.verdict]),
        ]
        for one in orders
    ]
    _, interval, p, verdict = DIFFERENCE_HEADER
    header = [
        "model",
        "as they are %",
        *(f"{clean(change.replace('_', ' '))} %" for change in changes),
        "lost by shuffling, points",
    ]
    return section(
        ORDER_TITLE,
        protocol(context),
        table([*header, interval, p, verdict], rows, "lr" + "r" * len(changes) + "rrrl"),
        _order_in_words(orders),
        powerless(len(rows), context),
        "Shuffled: each clip's frames in a random order; reversed: backwards; one frame: the middle one in place of all. Frames "
        "change in test clips only, and such clips are strange to a model that never trained on them: a loss says that its answers "
        "hang on the order, not that no model could do without.",
        DIFFERENCE_NOTE,
        saved_run(context),
    )


def _order_in_words(orders: Sequence[Order]) -> str:
    using = [clean(one.model) for one in orders if one.shuffling.verdict == "better"]
    if not using:
        return "**No model is shown to use the order of frames**: shuffling them costs none a significant part of its accuracy."
    rest = [clean(one.model) for one in orders if one.shuffling.verdict != "better"]
    return f"**Shown to use the order of frames: {listed(using)}.**" + (f" Not shown: {listed(rest)}." if rest else "")


def health(models: Sequence[TrainedModel]) -> str:
    """How each model's training went; no table, since a verdict is a reading of curves and not a number."""
    title = "How training went"
    if all(model.health == LEARNED for model in models):
        return section(title, f"All {len(models)} models learned: none diverged, stayed at chance, overfitted or ended too early.")
    return section(
        title,
        bullets([_training(model) for model in models]),
        "Where a model did not simply learn, its rank judges the recipe as much as the architecture.",
    )


def _training(model: TrainedModel) -> str:
    verdict = f"{clean(model.name)}: {clean(model.health)}."
    notes = "; ".join(clean(note, 400) for note in model.health_notes)
    sentences = [verdict if model.health == LEARNED else f"**{verdict}**"]
    if notes:
        sentences.append(f"{notes[0].upper()}{notes[1:]}.")
    if model.health in REMEDIES:
        sentences.append(f"Try: {REMEDIES[model.health]}.")
    return " ".join(sentences)


def calibration(rows: Sequence[Calibration], context: EvaluationContext) -> str:
    """How far confidence is from accuracy, and what one temperature mends."""
    cells = [
        [
            clean(one.model),
            percent(one.error),
            percent(one.calibrated_error),
            percent(error_by_chance(one.after)),
            "not fitted" if one.temperature is None else f"{one.temperature:.2f}",
        ]
        for one in rows
    ]
    return section(
        "Can the confidence be believed",
        protocol(context),
        table(["model", "ECE %, as trained", "ECE %, calibrated", "ECE %, by chance", "temperature"], cells, "lrrrr"),
        "ECE, the expected calibration error: by how many points a model's confidence in its answer and its accuracy differ, on "
        "average over 15 bins; 0 is best. A temperature above 1 says that answers were too sure, below 1 not sure enough; it "
        "changes no answer.",
        bullets(_temperature_notes(rows, context)),
        f"Few clips make ECE too high. By chance: what the calibrated confidence would show on average on {context.test_clips:,} "
        "clips if it were exactly right; an ECE about as high is no fault.",
        saved_run(context),
    )


def error_by_chance(bins: Reliability) -> float:
    """ECE that a confidence which is exactly right shows on average, as bins of few clips are off their accuracy by chance.

    Right answers of a bin's m clips are binomial; their mean distance from m p is 2 m p (1 - p) times the chance of floor(m p)
    among m - 1 (De Moivre). A little too high where confidences differ within a bin, as all are taken for their mean.
    """
    used = bins.count > 0
    clips, p = bins.count[used], bins.confidence[used]
    apart = 2 * clips * p * (1 - p) * binom.pmf(np.floor(np.minimum(clips * p, clips - 1)), clips - 1, p)
    return float(apart.sum() / clips.sum())


def _temperature_notes(rows: Sequence[Calibration], context: EvaluationContext) -> list[str]:
    if not context.val_clips:
        return ["No validation clips, so no temperature was fitted: nothing is calibrated."]
    notes = [f"The temperature was fitted on {context.val_clips:,} validation clips."]
    unfitted = [clean(one.model) for one in rows if one.temperature is None]
    if unfitted:
        notes.append(
            f"**Not calibrated: {listed(unfitted)}.** All validation clips are answered correctly, so there is no error to fit a "
            "temperature on; the confidence is as trained."
        )
    at_bounds = [clean(one.model) for one in rows if one.temperature and np.isclose(one.temperature, TEMPERATURES).any()]
    if at_bounds:
        low, high = TEMPERATURES
        notes.append(f"**At the end of what is tried ({low:g} to {high:g}), hence no estimate: {listed(at_bounds)}.**")
    harmed = [clean(one.model) for one in rows if one.calibrated_error > one.error]
    if harmed:
        notes.append(f"It made the confidence on test clips worse for {listed(harmed)}.")
    return notes


def ensembles(rows: Sequence[Ensemble], comparison: Comparison, context: EvaluationContext) -> str:
    """What averaging several models' probabilities gives over the first model in rank."""
    first = clean(comparison.leaderboard[0].name)
    cells = []
    for one in rows:
        members = "all models" if len(one.members) == len(comparison.leaderboard) else listed([clean(name) for name in one.members])
        parameters = sum(comparison.row(name).parameters for name in one.members)
        row = [clean(one.name), members, f"{parameters:,}", percent(one.top1), span(one.interval)]
        cells.append([*row, *difference_cells(one.gain)])
    better = [clean(one.name) for one in rows if one.gain.verdict == "better"]
    chosen = "Pair and triple are those with the highest validation top-1."
    if not context.val_clips:
        chosen = "There are no validation clips to choose a pair or triple on."
    _, interval, p, verdict = DIFFERENCE_HEADER
    header = ["ensemble", "members", "parameters", "top-1 %", "95 % interval", f"over {first}, points", interval, p, verdict]
    return section(
        "Several models as one",
        protocol(context),
        table(header, cells, "llrrrrrrl"),
        f"**Better than {first} alone: {listed(better)}.**"
        if better
        else f"**No ensemble is shown to be better than {first} alone.**",
        powerless(len(rows), context),
        f"The mean of the members' probabilities. {chosen} An ensemble costs as much as its members together. {DIFFERENCE_NOTE}",
        saved_run(context),
    )


def cost(rows: Sequence[ModelCost], context: EvaluationContext) -> str:
    """What a prediction costs with each model, and which models give the most for it."""
    cells = [
        [
            clean(one.model),
            percent(one.top1),
            f"{one.flops / 1e6:,.1f}",
            f"{one.latency_ms:,.2f}",
            f"{one.memory_mb:,.1f}",
            f"{one.parameters:,}",
            f"{100 * one.top1 / (one.parameters / 1e6):.1f}",
            "yes" if one.on_front else "",
        ]
        for one in rows
    ]
    front = [clean(one.model) for one in sorted(rows, key=lambda one: (one.flops, one.model)) if one.on_front]
    ordered = ", from the fewest operations to the most" if len(front) > 1 else ""
    header = ["model", "top-1 %", "MFLOPs a clip", "latency ms", "memory MB", "parameters", "top-1 % / M", "Pareto front"]
    return section(
        "What a prediction costs",
        protocol(context),
        table(header, cells, "lrrrrrrl"),
        f"**On the Pareto front: {listed(front)}**{ordered}. For any other model there is one that "
        "is at least as accurate with fewer operations, or more accurate with no more. The front takes top-1 at its word: where "
        "the tests see a tie, a place on it may be chance.",
        "For one clip alone, from features on; the frozen backbone comes on top, the same for all. FLOPs: of matrix products, a "
        "multiplication and an addition being two. Memory: parameters, and the most that one clip needs beside them. Top-1 % / M: "
        "the study's efficiency score, top-1 percent for each million of parameters. Latency is measured on one thread of a CPU; "
        "such timings vary from run to run.",
        saved_run(context),
    )
