"""Comparison report in Markdown: report.md with the findings, and details.md with every number behind them."""

from collections.abc import Mapping, Sequence

import numpy as np

from actionrec.core.text import first_few, percent
from actionrec.evaluation import metrics, study_results
from actionrec.evaluation.analyses import Analyses
from actionrec.evaluation.calibration import TEMPERATURES, error_by_chance
from actionrec.evaluation.class_confusions import confused_pairs
from actionrec.evaluation.clip_cost import SAME_COST, cheaper
from actionrec.evaluation.comparison import Comparison, chosen_by_validation
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.leaderboard import LeaderboardRow
from actionrec.evaluation.logits import answers
from actionrec.evaluation.significance_tests import PairedTest
from actionrec.evaluation.trained_models import Timing, TrainedModel
from actionrec.report import errors, p_value, table
from actionrec.report.headline import headline
from actionrec.report.rendering import render
from actionrec.report.risk_coverage import risk_section, unsure_answers
from actionrec.report.tuned_backbone import tuning_findings
from actionrec.report.wording import DIFFERENCE_HEADER, clean, difference_cells, listed, points, span

CONFUSED_PAIRS = 5  # in the report
WORST_CLASSES = 5
SPLIT_RULES = {
    "group": "Group split: all clips of one source video are in the same subset.",
    "random": "Random split: each clip is assigned to a subset at random, regardless of its source video.",
    "official": "Official split: lists that come with the data set assign the clips.",
}
LEARNED = "learned"
REMEDIES = {
    "diverged": "lower `learning_rate`, raise `warmup_epochs`, or set `clip_norm`",
    "at chance": "another `learning_rate`, `warmup_epochs` or `clip_norm`; this result says nothing about the architecture yet",
    "overfitted": "more clips, or a higher `dropout` or `weight_decay`; the epoch that was kept can still be good",
    "still improving": "raise `train.epochs`",
}
SOLVED_REMEDIES = {  # of linear probes, which have no epochs
    "at chance": "other features; these are not shown to tell the classes apart without their order",
    "overfitted": "more clips, or a higher `weight_decay`",
}
PICTURES = {
    "accuracy_intervals": "top-1 with intervals",
    "order_of_frames": "order of frames",
    "accuracy_against_cost": "accuracy against cost",
    "model_comparison": "all models side by side",
    "reliability": "confidence against accuracy",
    "risk_coverage": "risk against coverage",
    "missed_by_all": "clips that all models miss",
    "suspect_labels": "clips whose label is probably wrong",
    "all_models_grid": "training curves of all models",
}


def report(comparison: Comparison, context: EvaluationContext, analyses: Analyses, models: Sequence[TrainedModel]) -> str:
    """Write report.md: the answer first, then each section with its finding first.

    Args:
        analyses: of the same models.
        models: in any order.
    """
    by_name = {model.name: model for model in models}
    deploy = comparison.advice.deploy
    study = study_results.is_its_data_set(context.dataset)
    return render(
        "report.md.j2",
        comparison=comparison,
        context=context,
        deploy=deploy,
        split_rule=SPLIT_RULES.get(context.protocol, ""),
        headline=headline(comparison, analyses.baselines, context),
        warnings=_warnings(comparison, context),
        results_table=_results(comparison, context),
        not_in_study=_not_in_study(comparison),
        differences=_differences(comparison),
        tuning_findings=tuning_findings(analyses.tuning, comparison, context),
        order_finding=_order_finding(analyses, comparison.baselines),
        order_table=_order(comparison, analyses),
        cost_finding=_cost_finding(comparison, analyses, context),
        cost_table=_costs(analyses),
        clip_time=_clip_time(analyses),
        same_cost=SAME_COST,
        error_finding=_error_finding(by_name[deploy]),
        confused_table=_confused(by_name[deploy], context),
        class_table=_worst_classes(analyses, deploy),
        group_finding=errors.group_finding(analyses.groups[deploy]),
        missed_finding=_missed_finding(analyses, context),
        label_finding=_label_finding(analyses, comparison, context),
        confidence_findings=[*_confidence(analyses, context), unsure_answers(analyses.risks[deploy])],
        ensemble_finding=_ensemble_finding(analyses, comparison),
        training_findings=_training(models, context),
        leak_findings=errors.leaks(analyses.audit, context),
        study_table=_against_study(comparison) if study else "",
        study_protocol=f"{study_results.PROTOCOL}; {study_results.DEVICE}. Source: {study_results.SOURCE}",
        study_siblings=percent(study_results.TEST_CLIPS_WITH_SIBLING_IN_TRAINING),
        pictures=_pictures(comparison),
    )


def details(
    comparison: Comparison,
    context: EvaluationContext,
    timings: Mapping[str, Timing],
    analyses: Analyses,
    models: Sequence[TrainedModel],
) -> str:
    """Write details.md: the tables behind report.md."""
    deploy = comparison.advice.deploy
    names = [row.name for row in comparison.leaderboard]
    return render(
        "details.md.j2",
        context=context,
        results_table=_all_results(comparison),
        folds_table=_folds(comparison, context) if context.evaluated_folds > 1 else "",
        pairs_table=_pairs(comparison),
        baselines_table=_baselines(analyses),
        order_table=_orders_in_full(analyses),
        ensembles_table=_ensembles(analyses, comparison),
        ensembles_chosen="The pair and the triple have the highest validation top-1." if context.val_clips else "",
        calibration_table=_calibration(analyses),
        calibrated_clips=int(analyses.calibrations[0].after.count.sum()),
        training_table=_times(names, timings),
        training_seconds=f"{sum(timings[name].train_seconds for name in names):.1f}",
        several_devices=len({timings[name].device for name in names}) > 1,
        training_notes=[_diagnosis(model, model.health_notes) for model in models],
        class_scores=errors.class_scores(analyses.class_scores[deploy], deploy, context),
        group_scores=errors.group_scores(analyses.groups[deploy], deploy),
        risk=risk_section(analyses.risks[deploy], context),
        missed=errors.missed(analyses.missed, context),
        audit=errors.audit(analyses.audit, context),
    )


def _pictures(comparison: Comparison) -> list[str]:
    names = [row.name for row in comparison.leaderboard]
    of_all = [f"[{title}](../plots/{name}.png)" for name, title in PICTURES.items()]
    of_models = [
        f"{title}: {', '.join(f'[{name}](../plots/{name}_{picture}.png)' for name in names)}"
        for title, picture in (("Training curves", "curves"), ("Confusion matrices", "confusion"))
    ]
    return [f"Plots: {', '.join(of_all)}", *of_models]


def _warnings(comparison: Comparison, context: EvaluationContext) -> list[str]:
    """What the reader must know before the first number."""
    notes = []
    if context.weights == "random":
        notes.append(
            "**The backbone is untrained** (`features.weights: random`). These numbers show that the pipeline runs; they say "
            "nothing about how well any model recognises actions in real footage."
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
    return notes


def _varying(header: Sequence[str], rows: Sequence[Sequence[str]], align: str, optional: Sequence[str]) -> str:
    """A table without those optional columns in which every row has the same value."""
    constant = {place for place, title in enumerate(header) if title in optional and len({row[place] for row in rows}) <= 1}
    kept = [place for place in range(len(header)) if place not in constant]
    return table([header[i] for i in kept], [[row[i] for i in kept] for row in rows], "".join(align[i] for i in kept))


def _results(comparison: Comparison, context: EvaluationContext) -> str:
    header = [
        "#",
        "model",
        "top-1 %",
        "± seeds",
        "folds from–to %",
        "95 % interval",
        "behind the first",
        "mean class %",
        "macro F1 %",
        "top-5 %",
    ]
    header += ["parameters", "best epoch"]
    rows = []
    for row in comparison.leaderboard:
        pair = comparison.against_first(row.name)
        cells = [str(row.rank), row.name, percent(row.top1), "" if row.std is None else percent(row.std)]
        cells += [
            f"{percent(min(row.fold_top1))}–{percent(max(row.fold_top1))}" if len(row.fold_top1) > 1 else "",
            span(row.interval),
        ]
        cells += ["" if pair is None else _points(pair.test), percent(row.mean_class), percent(row.macro_f1)]
        cells += ["" if len(context.class_names) <= 10 else percent(row.top5)]
        rows.append([*cells, f"{row.parameters:,}", _kept_epoch(row)])
    return _varying(
        header, rows, "rl" + "r" * 10, ("± seeds", "folds from–to %", "behind the first", "top-5 %", "mean class %", "best epoch")
    )


def _kept_epoch(row: LeaderboardRow) -> str:
    return "solved" if _is_solved(row) else f"{row.best_epoch} of {row.epochs}"


def _is_solved(model: TrainedModel | LeaderboardRow) -> bool:
    """Whether it is a linear probe: solved exactly, not trained in epochs."""
    return model.order_blind and model.epochs == 1


def _points(test: PairedTest) -> str:
    """A difference in points, with a star if the test finds it."""
    return f"{points(test.difference)}{'*' if test.is_real else ''}"


def _differences(comparison: Comparison) -> list[str]:
    """What the tests of all pairs find, the choice by validation, and the models to avoid."""
    first, advice = comparison.leaderboard[0], comparison.advice
    lines = []
    for row in comparison.leaderboard:
        worse = [pair for pair in comparison.pairs if pair.a == row.name and pair.apart]
        if worse:
            largest = max(pair.test.p for pair in worse)
            lines.append(f"**{row.name} is better than {listed([pair.b for pair in worse])}** ({_at_most(largest)}).")
    open_pairs = [pair.b for pair in comparison.pairs if pair.a == first.name and not pair.apart]
    if open_pairs:
        lines.append(f"Not shown to differ from {first.name}: {listed(open_pairs)}. That does not mean that they are equal.")
    by_validation = chosen_by_validation(comparison)
    if by_validation and first.name not in by_validation:
        scores = [f"{name} ({percent(comparison.row(name).top1)} % on test)" for name in by_validation]
        lines.append(f"The first was chosen on the test clips. Validation clips alone would choose {listed(scores)}.")
    by_reason: dict[str, list[str]] = {}
    for name, reason in advice.avoid.items():
        by_reason.setdefault(reason, []).append(name)
    return lines + [f"**Avoid {listed(names)}**: {reason}." for reason, names in by_reason.items()]


def _order_finding(analyses: Analyses, baselines: Sequence[str]) -> str:
    """Which sequence models use the order. Baselines do not count: shuffling shows middle_frame another frame."""
    losing = [one for one in analyses.orders if one.model not in baselines and one.shuffling.verdict == "better"]
    if not losing:
        return "**No sequence model is shown to use the order of frames**: none loses significantly when the frames are shuffled."
    names, largest = listed([clean(one.model) for one in losing]), max(one.shuffling.p for one in losing)
    lose, they = ("loses", "it uses") if len(losing) == 1 else ("lose", "they use")
    return f"**{names} {lose} accuracy when the frames are shuffled** ({_at_most(largest)}): {they} the order."


def _at_most(p: float) -> str:
    """The largest of several p-values."""
    return f"p at most {p_value(max(p, 0.001))}"


def _order(comparison: Comparison, analyses: Analyses) -> str:
    orders = {one.model: one for one in analyses.orders}
    header = [
        "model",
        *(f"gain over {clean(one.name)}" for one in analyses.baselines),
        "loss by shuffling",
        "shuffled %",
        "reversed %",
    ]
    rows = []
    for row in (row for row in comparison.leaderboard if not row.order_blind):
        order = orders[row.name]
        gains = [_points(one.gains[row.name]) if row.name in one.gains else "" for one in analyses.baselines]
        changed = [percent(order.changed[change]) for change in ("shuffled", "reversed")]
        rows.append([row.name, *gains, _points(order.shuffling), *changed])
    return table(header, rows, "l" + "r" * (len(header) - 1))


def _cost_finding(comparison: Comparison, analyses: Analyses, context: EvaluationContext) -> str:
    most = max(analyses.costs, key=lambda one: one.flops)
    share = percent(most.flops / most.total_flops)
    front = [clean(one.model) for one in sorted(analyses.costs, key=lambda one: (one.flops, one.model)) if one.on_front]
    if any(cheaper(one.total_flops, most.total_flops) for one in analyses.costs):
        verdict, adds = "The models differ in cost", f"up to {share} %"
    else:
        verdict, adds = "No model is noticeably cheaper than another", f"at most {share} %, so accuracy decides"
    backbone = f"{clean(context.backbone)} needs {comparison.backbone.flops / 1e9:,.1f} GFLOPs per clip"
    smallest = f"The smallest model not to avoid is {clean(comparison.advice.smallest)}."
    return f"**{verdict}**: {backbone}, and a sequence model adds {adds}. On the Pareto front: {listed(front)}. {smallest}"


def _costs(analyses: Analyses) -> str:
    rows = [
        [
            clean(one.model),
            percent(one.top1),
            f"{one.total_flops / 1e9:,.2f}",
            f"{one.flops / 1e9:,.2f}",
            f"{one.total_ms:,.0f}",
            f"{one.latency_ms:,.1f}",
            f"{one.total_memory_mb:,.0f}",
            f"{one.memory_mb:,.1f}",
            f"{one.total_params / 1e6:,.1f}",
            f"{one.parameters / 1e6:,.2f}",
            "yes" if one.on_front else "",
        ]
        for one in analyses.costs
    ]
    costs = [name for cost in ("GFLOPs", "ms per clip", "memory MB", "M parameters") for name in (cost, "own")]
    return table(["model", "top-1 %", *costs, "Pareto front"], rows, "lrrrrrrrrrl")


def _clip_time(analyses: Analyses) -> str:
    timing = analyses.costs[0].timing
    return f"{timing.decode_ms:,.0f} ms to decode it, {timing.backbone_ms:,.0f} ms for the backbone on {clean(timing.device)}"


def _error_finding(model: TrainedModel) -> str:
    wrong = int((answers(model.test.logits) != model.test.labels).sum())
    if not wrong:
        return f"**None: all {len(model.test.labels):,} test clips are classified correctly.**"
    return (
        f"**{wrong:,} of {len(model.test.labels):,} test clips are wrong.** The most frequent confusions, and the weakest classes:"
    )


def _confused(model: TrainedModel, context: EvaluationContext) -> str:
    counts = metrics.confusion(model.test.logits, model.test.labels)
    totals = counts.sum(axis=1)
    rows = [
        [clean(context.class_names[true]), clean(context.class_names[answer]), f"{counts[true, answer]} of {totals[true]}"]
        for true, answer in confused_pairs(counts, CONFUSED_PAIRS)
    ]
    return table(["true class", "predicted", "test clips"], rows, "llr") if rows else ""


def _worst_classes(analyses: Analyses, model: str) -> str:
    worst = sorted((one for one in analyses.class_scores[model] if one.f1 < 1), key=lambda one: (one.f1, one.name))[:WORST_CLASSES]
    rows = [[clean(one.name), f"{one.clips:,}", *map(percent, (one.precision, one.recall, one.f1))] for one in worst]
    return table(["class", "test clips", "precision %", "recall %", "F1 %"], rows, "lrrrr") if rows else ""


def _missed_finding(analyses: Analyses, context: EvaluationContext) -> str:
    count = len(analyses.missed)
    if not count:
        return "At least one model classifies each test clip correctly."
    clips = first_few([clean(one.clip) for one in analyses.missed])
    return (
        f"{count:,} of {context.distinct_test_clips:,} test clips are wrong in every model; check their labels: {clips} "
        "([pictures](../plots/missed_by_all.png))."
    )


def _label_finding(analyses: Analyses, comparison: Comparison, context: EvaluationContext) -> str:
    suspects = [one for one in analyses.label_checks if one.suspect]
    every = "of the test clips of all lists" if context.protocol == "official" else "of all clips"
    covered = "" if context.evaluated_folds > 1 else f" `evaluation.folds=all` checks the labels {every}."
    if comparison.advice.none_recommended:
        return "Labels were not checked: no model is shown to be better than always predicting the most frequent class."
    if not suspects:
        return f"No label of a test clip is suspect.{covered}"
    clips = first_few([f"{clean(one.clip)} ({clean(one.suggestion)}?)" for one in suspects], 3)
    return (
        f"**{len(suspects):,} of {context.distinct_test_clips:,} labels are suspect**, by confident learning: {clips} "
        f"([list](suspect_labels.csv), [pictures](../plots/suspect_labels.png)).{covered}"
    )


def _confidence(analyses: Analyses, context: EvaluationContext) -> list[str]:
    if not context.val_clips:
        return ["**Not calibrated**: there are no validation clips to fit a temperature on."]
    fitted = [one for one in analyses.calibrations if one.temperature is not None]
    unfitted = [clean(one.model) for one in analyses.calibrations if one.temperature is None]
    notes = []
    if fitted:
        errors_by_model = {one.model: one.calibrated_error for one in fitted}
        best, worst = min(errors_by_model, key=errors_by_model.__getitem__), max(errors_by_model, key=errors_by_model.__getitem__)
        notes.append(
            f"After calibration on {context.val_clips:,} validation clips, confidence and accuracy differ by "
            f"{percent(errors_by_model[best])} points ({clean(best)}) to {percent(errors_by_model[worst])} ({clean(worst)}); "
            "with few test clips, part of that is chance."
        )
    if unfitted:
        notes.append(f"**Not calibrated: {listed(unfitted)}.** All validation clips are classified correctly.")
    harmed = [clean(one.model) for one in fitted if one.calibrated_error > one.error]
    if harmed:
        notes.append(f"Calibration made the error on test clips worse for {listed(harmed)}.")
    at_bounds = [clean(one.model) for one in fitted if np.isclose(one.temperature or 1.0, TEMPERATURES).any()]
    if at_bounds:
        notes.append(f"**The temperature of {listed(at_bounds)} is at a bound of the search**, so it is not an estimate.")
    return notes


def _ensemble_finding(analyses: Analyses, comparison: Comparison) -> str:
    first = clean(comparison.leaderboard[0].name)
    better = [
        f"{clean(one.name)} ({listed([clean(name) for name in one.members])})"
        for one in analyses.ensembles
        if one.gain.verdict == "better"
    ]
    if better:
        return f"**Better than {first} alone: {listed(better)}.**"
    return f"**No ensemble is shown to be better than {first} alone.**"


def _training(models: Sequence[TrainedModel], context: EvaluationContext) -> list[str]:
    """Diagnoses other than "learned", of the saved models."""
    where = f" in fold {context.fold}; the other folds were not diagnosed" if context.evaluated_folds > 1 else ""
    notes = [_diagnosis(model, model.health_notes[:1]) for model in models if model.health != LEARNED]
    if not notes:
        return [f"All {len(models)} models learned: none diverged, stayed at chance, overfitted or stopped too early{where}."]
    others = [f"Diagnosed{where}."] if where else []
    return [*notes, *others, "Their ranks reflect the training settings as much as the architecture."]


def _diagnosis(model: TrainedModel, health_notes: Sequence[str]) -> str:
    verdict = f"{clean(model.name)}: {clean(model.health)}."
    notes = "; ".join(clean(note, 400) for note in health_notes)
    sentences = [verdict if model.health == LEARNED else f"**{verdict}**"]
    if notes:
        sentences.append(f"{notes[0].upper()}{notes[1:]}.")
    if remedy := (SOLVED_REMEDIES if _is_solved(model) else REMEDIES).get(model.health):
        sentences.append(f"Try: {remedy}.")
    return " ".join(sentences)


def _not_in_study(comparison: Comparison) -> str:
    """The models of this project that the study does not have, without the baselines."""
    known = {*comparison.baselines, *study_results.RESULTS}
    return ", ".join(clean(row.name) for row in comparison.leaderboard if row.name not in known)


def _against_study(comparison: Comparison) -> str:
    rows = []
    for one in comparison.leaderboard:
        study = study_results.RESULTS.get(one.name)
        if study is None:
            continue
        rows.append(
            [
                one.name,
                f"{percent(one.top1)} ({span(one.interval)})",
                f"{study.top1_percent:.2f} ({span(study.interval)})",
                f"{100 * one.top1 - study.top1_percent:+.1f}",
                percent(one.top5),
                f"{study.top5_percent:.2f}",
                f"{one.parameters:,}",
                f"{study.parameters:,}",
            ]
        )
    header = ["model", "top-1 % here", "top-1 % study", "difference", "top-5 % here", "study", "parameters here", "study"]
    return table(header, rows, "lrrrrrrr")


def _all_results(comparison: Comparison) -> str:
    header = ["#", "model", "top-1 %", "95 % interval", "Wilson", "top-5 %", "95 % interval", "mean class %", "macro F1 %"]
    header += ["val top-1 %", "val loss", "parameters", "top-1 % / M", "best epoch"]
    rows = []
    for one in comparison.leaderboard:
        row = [str(one.rank), one.name, percent(one.top1), span(one.interval), span(one.wilson), percent(one.top5)]
        row += [span(one.top5_interval), percent(one.mean_class), percent(one.macro_f1)]
        row += ["" if one.val_top1 is None else percent(one.val_top1), "" if one.val_loss is None else f"{one.val_loss:.3f}"]
        rows.append([*row, f"{one.parameters:,}", f"{one.efficiency:.1f}", _kept_epoch(one)])
    return table(header, rows, "rl" + "r" * 12)


def _folds(comparison: Comparison, context: EvaluationContext) -> str:
    """Each model's top-1 in each fold, and mean and standard deviation over the folds."""
    shares = {row.name: row.fold_top1 for row in comparison.leaderboard}
    rows = [
        [name, *map(percent, folds), percent(float(np.mean(folds))), percent(float(np.std(folds, ddof=1)))]
        for name, folds in shares.items()
    ]
    first = 1 if context.protocol == "official" else 0
    numbers = range(first, first + context.evaluated_folds)
    header = ["model", *(f"fold {number} %" for number in numbers), "mean %", "± folds"]
    return table(header, rows, "l" + "r" * (len(header) - 1))


def _pairs(comparison: Comparison) -> str:
    rows = [
        [pair.a, pair.b, *difference_cells(pair.test), str(pair.only_a_correct), str(pair.only_b_correct), p_value(pair.p_mcnemar)]
        for pair in comparison.pairs
    ]
    header = ["a", "b", *DIFFERENCE_HEADER, "only a correct", "only b correct", "p McNemar"]
    return table(header, rows, "llrrrlrrr")


def _baselines(analyses: Analyses) -> str:
    rows = [
        [clean(model), clean(one.name), *difference_cells(test)] for one in analyses.baselines for model, test in one.gains.items()
    ]
    return table(["model", "baseline", *DIFFERENCE_HEADER], rows, "llrrrl") if rows else "There are no baselines."


def _orders_in_full(analyses: Analyses) -> str:
    changes = list(analyses.orders[0].changed)
    header = ["model", "in order %", *(f"{clean(change.replace('_', ' '))} %" for change in changes), *DIFFERENCE_HEADER]
    rows = [
        [
            clean(one.model),
            percent(one.top1),
            *(percent(one.changed[change]) for change in changes),
            *difference_cells(one.shuffling),
        ]
        for one in analyses.orders
    ]
    return table(header, rows, "lr" + "r" * len(changes) + "rrrl")


def _ensembles(analyses: Analyses, comparison: Comparison) -> str:
    rows = []
    for one in analyses.ensembles:
        all_models = len(one.members) == len(comparison.leaderboard)
        members = "all models" if all_models else listed([clean(name) for name in one.members])
        parameters = sum(comparison.row(name).parameters for name in one.members)
        rows.append(
            [clean(one.name), members, f"{parameters:,}", percent(one.top1), span(one.interval), *difference_cells(one.gain)]
        )
    header = ["ensemble", "members", "parameters", "top-1 %", "95 % interval", *DIFFERENCE_HEADER]
    return table(header, rows, "llrrrrrrl")


def _calibration(analyses: Analyses) -> str:
    rows = [
        [
            clean(one.model),
            percent(one.error),
            percent(one.calibrated_error),
            percent(error_by_chance(one.after)),
            "not fitted" if one.temperature is None else f"{one.temperature:.2f}",
        ]
        for one in analyses.calibrations
    ]
    return table(["model", "ECE %, before", "ECE %, calibrated", "ECE %, by chance", "temperature"], rows, "lrrrr")


def _times(names: Sequence[str], timings: Mapping[str, Timing]) -> str:
    rows = [
        [name, f"{timings[name].train_seconds:.1f}", f"{timings[name].clips_per_second:,.0f}", clean(timings[name].device)]
        for name in names
    ]
    return table(["model", "training s", "clips/s", "device"], rows, "lrrl")
