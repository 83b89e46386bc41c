"""Report sections behind the ranking: baselines, order of frames, training, confidence, ensembles, cost."""

from collections.abc import Sequence

import numpy as np

from actionrec.core.text import percent
from actionrec.evaluation.analyses import Baseline, Calibration, Ensemble, ModelCost, Order
from actionrec.evaluation.calibration import TEMPERATURES, error_by_chance
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.trained_models import TrainedModel
from actionrec.report import table
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

ORDER_TITLE = "Do models use the order of frames"

LEARNED = "learned"
REMEDIES = {
    "diverged": "lower `learning_rate`, raise `warmup_epochs`, or set `clip_norm`",
    "at chance": "another `learning_rate`, `warmup_epochs` or `clip_norm`; this result says nothing about the architecture yet",
    "overfitted": "more clips, or a higher `dropout` or `weight_decay`; the epoch that was kept can still be good",
    "still improving": "raise `train.epochs`",
}


def baselines(baselines: Sequence[Baseline], comparison: Comparison, context: EvaluationContext) -> str:
    """Models against logistic regression, which ignores the order of frames: two tables and a summary.

    Args:
        baselines: at least one, each with a gain for every model of the comparison.
    """
    models = [row.name for row in comparison.leaderboard]
    accuracies = [[clean(one.name), percent(one.top1), span(one.interval), f"{one.parameters:,}"] for one in baselines]
    gains = [[clean(name), clean(one.name), *difference_cells(one.gains[name])] for name in models for one in baselines]
    runs = f" Accuracies of models are means over {context.seeds} training runs." if context.seeds > 1 else ""
    return section(
        "Are sequence models better than simple baselines",
        protocol(context),
        table(["baseline", "top-1 %", "95 % interval", "parameters"], accuracies, "lrrr"),
        "Baselines: logistic regression on the mean of a clip's features over time, or on the features of its middle frame. "
        "Neither uses the order of frames. p is corrected over the models, separately for each baseline.",
        table(["model", "baseline", *DIFFERENCE_HEADER], gains, "llrrrl"),
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
            f"**Better than {than}**: {listed([clean(name) for name in better])}. The reason can be the order of frames or just "
            f'a larger model; see "{ORDER_TITLE}".'
        )
    else:
        lines.append(f"**No model is shown to be better than {than}.**")
    rest = [name for name in models if name not in better]
    if better and rest:
        lines.append(f"Not shown to be better than {than}: {listed([clean(name) for name in rest])}.")
    for name in rest:
        beaten_by = [clean(baseline) for baseline, verdict in verdicts[name].items() if verdict == "worse"]
        if beaten_by:
            lines.append(f"**{clean(name)} is worse than {listed(beaten_by)}** on the same features.")
    return lines


def order(orders: Sequence[Order], context: EvaluationContext) -> str:
    """Which models lose accuracy when the order of the test clips' frames is changed.

    Args:
        orders: at least one; all with the same changes, `shuffled` among them.
    """
    verdicts = {"better": "uses the order", "tie": "not shown", "worse": "better when shuffled"}
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
        "in order %",
        *(f"{clean(change.replace('_', ' '))} %" for change in changes),
        "loss by shuffling, points",
    ]
    return section(
        ORDER_TITLE,
        protocol(context),
        table([*header, interval, p, verdict], rows, "lr" + "r" * len(changes) + "rrrl"),
        _order_in_words(orders),
        powerless(len(rows), context),
        "Shuffled: each clip's frames in random order. Reversed: backwards. One frame: the middle frame repeated. Only test clips "
        "are changed, and models never trained on such clips. A loss shows that a model's predictions depend on the order, not "
        "that the task needs it.",
        DIFFERENCE_NOTE,
        saved_run(context),
    )


def _order_in_words(orders: Sequence[Order]) -> str:
    using = [clean(one.model) for one in orders if one.shuffling.verdict == "better"]
    if not using:
        return "**No model is shown to use the order of frames**: no model loses significantly when frames are shuffled."
    rest = [clean(one.model) for one in orders if one.shuffling.verdict != "better"]
    return f"**Use the order of frames: {listed(using)}.**" + (f" Not shown: {listed(rest)}." if rest else "")


def health(models: Sequence[TrainedModel]) -> str:
    """Diagnosis of each model's training, in words."""
    title = "Training diagnosis"
    if all(model.health == LEARNED for model in models):
        return section(
            title, f"All {len(models)} models learned: none diverged, stayed at chance, overfitted or stopped too early."
        )
    return section(
        title,
        bullets([_training(model) for model in models]),
        'If a model has another diagnosis than "learned", its rank reflects its training settings as much as its architecture.',
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
    """Calibration error of each model, before and after temperature scaling."""
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
        "Is the confidence reliable",
        protocol(context),
        table(["model", "ECE %, before", "ECE %, calibrated", "ECE %, by chance", "temperature"], cells, "lrrrr"),
        "ECE (expected calibration error): mean difference between confidence and accuracy over 15 bins; 0 is best. A temperature "
        "above 1 corrects confidence that is too high, one below 1 confidence that is too low. It does not change predictions.",
        bullets(_temperature_notes(rows, context)),
        f"With few clips, ECE is biased upwards. By chance: the mean ECE on {context.test_clips:,} clips if the calibrated "
        "confidence were exactly right; an ECE close to it is not a problem.",
        saved_run(context),
    )


def _temperature_notes(rows: Sequence[Calibration], context: EvaluationContext) -> list[str]:
    if not context.val_clips:
        return ["There are no validation clips, so no temperature was fitted."]
    notes = [f"The temperature was fitted on {context.val_clips:,} validation clips."]
    unfitted = [clean(one.model) for one in rows if one.temperature is None]
    if unfitted:
        notes.append(
            f"**Not calibrated: {listed(unfitted)}.** All validation clips are classified correctly, so there is no error to fit a "
            "temperature on."
        )
    at_bounds = [clean(one.model) for one in rows if one.temperature and np.isclose(one.temperature, TEMPERATURES).any()]
    if at_bounds:
        low, high = TEMPERATURES
        notes.append(
            f"**The temperature is at a bound of the search ({low:g} to {high:g}) for {listed(at_bounds)}**: it is no estimate."
        )
    harmed = [clean(one.model) for one in rows if one.calibrated_error > one.error]
    if harmed:
        notes.append(f"It made the calibration error on test clips worse for {listed(harmed)}.")
    return notes


def ensembles(rows: Sequence[Ensemble], comparison: Comparison, context: EvaluationContext) -> str:
    """Averages of several models' probabilities, compared with the first model in rank."""
    first = clean(comparison.leaderboard[0].name)
    cells = []
    for one in rows:
        members = "all models" if len(one.members) == len(comparison.leaderboard) else listed([clean(name) for name in one.members])
        parameters = sum(comparison.row(name).parameters for name in one.members)
        row = [clean(one.name), members, f"{parameters:,}", percent(one.top1), span(one.interval)]
        cells.append([*row, *difference_cells(one.gain)])
    better = [clean(one.name) for one in rows if one.gain.verdict == "better"]
    chosen = "The pair and the triple are those with the highest validation top-1."
    if not context.val_clips:
        chosen = "There are no validation clips to choose a pair or triple."
    _, interval, p, verdict = DIFFERENCE_HEADER
    header = [
        "ensemble",
        "members",
        "parameters",
        "top-1 %",
        "95 % interval",
        f"difference from {first}, points",
        interval,
        p,
        verdict,
    ]
    return section(
        "Ensembles",
        protocol(context),
        table(header, cells, "llrrrrrrl"),
        f"**Better than {first} alone: {listed(better)}.**"
        if better
        else f"**No ensemble is shown to be better than {first} alone.**",
        powerless(len(rows), context),
        f"An ensemble averages its members' probabilities. {chosen} It costs as much as its members together. {DIFFERENCE_NOTE}",
        saved_run(context),
    )


def cost(rows: Sequence[ModelCost], context: EvaluationContext) -> str:
    """Cost of a prediction with each model, and the Pareto front of accuracy and operations."""
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
    header = ["model", "top-1 %", "MFLOPs per clip", "latency ms", "memory MB", "parameters", "top-1 % / M", "Pareto front"]
    return section(
        "Cost of a prediction",
        protocol(context),
        table(header, cells, "lrrrrrrl"),
        f"**On the Pareto front: {listed(front)}**{ordered}. For every other model, some model is at least as accurate with fewer "
        "operations, or more accurate with no more operations. The front ignores uncertainty: between models that tie, being on it "
        "can be chance.",
        "For one clip, computed from features. The frozen backbone's cost is not included; it is the same for all models. FLOPs: "
        "of matrix products; a multiplication and an addition count as two. Memory: parameters and the peak for one clip. Top-1 % "
        "/ M: the study's efficiency score, top-1 percent per million parameters. Latency is measured on one CPU thread; timings "
        "vary from run to run.",
        saved_run(context),
    )
