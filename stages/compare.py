"""Compare the trained models: metrics/summary.json, compare.json, a report, tables and charts."""

import logging
from dataclasses import dataclass
from typing import Any

from actionrec.core import entry, paths
from actionrec.core.errors import MALFORMED, DataError
from actionrec.core.text import shortened
from actionrec.evaluation import analyses, comparison, metrics, suspect_labels
from actionrec.evaluation.analyses import Analyses
from actionrec.evaluation.clip_cost import read_backbone_cost, read_clip_timing
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext, read_context
from actionrec.evaluation.group_scores import group_scores
from actionrec.evaluation.risk_coverage import risk_coverage
from actionrec.evaluation.settings import CompareSettings
from actionrec.evaluation.trained_models import History, Timing, TrainedModel, read_history, read_model, read_timing
from actionrec.evaluation.tuning_result import read_tuning_result
from actionrec.io import params
from actionrec.io.files import read_json, whole_file, write_csv, write_json, write_spreadsheet, write_text
from actionrec.models import MODELS
from actionrec.plots import confusion, contact_sheet, curves, intervals, order, overview, pareto, reliability
from actionrec.plots import risk_coverage as risk_plot
from actionrec.report import comparison_report, errors, tables, terminal
from actionrec.report.headline import headline
from actionrec.video.frame_store import read_frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Params:
    """The section of params.yaml that this stage reads."""

    compare: CompareSettings


@dataclass(frozen=True)
class Gathered:
    """The outputs of earlier stages, and the analyses of them."""

    models: list[TrainedModel]
    """In the order of MODELS."""
    result: Comparison
    context: EvaluationContext
    timings: dict[str, Timing]
    histories: dict[str, History]
    all_analyses: Analyses


def main() -> None:
    gathered = gather()
    write_numbers(gathered)
    draw(gathered)
    logger.info("%s", terminal.outcome(gathered.result, gathered.all_analyses.baselines, gathered.context))


def gather() -> Gathered:
    """Read and compute everything, before anything is written."""
    models = [read_model(name) for name in MODELS]
    context = read_context(models[0])
    backbone = read_backbone_cost(context.backbone, context.streams)
    result = comparison.compare(models, params.read(Params).compare.margin, backbone)
    timings = {name: read_timing(name) for name in MODELS}
    ranked = sorted(models, key=lambda model: result.row(model.name).rank)
    answered = {model.name: model.predictions for model in ranked}
    all_analyses = Analyses(
        baselines=analyses.against_baselines(answered, result.baselines),
        orders=analyses.order_of_frames(answered),
        calibrations=analyses.calibrations(ranked),
        ensembles=analyses.combined(answered, ranked[0].name),
        costs=analyses.costs(
            ranked,
            {name: (timing.latency_ms, timing.memory_mb) for name, timing in timings.items()},
            backbone,
            read_clip_timing(),
        ),
        class_scores={model.name: analyses.class_scores(model.predictions, model.class_names) for model in ranked},
        groups={model.name: group_scores(model.test) for model in ranked},
        risks={model.name: risk_coverage(model) for model in ranked},
        missed=analyses.missed_by_all(answered, models[0].class_names),
        label_checks=suspect_labels.check_labels(ranked, result.advice.avoid),
        audit=read_audit(context),
        tuning=read_tuning_result(context.tuning, len(context.class_names)),
    )
    histories = {model.name: read_history(model) for model in models}
    return Gathered(models, result, context, timings, histories, all_analyses)


def write_numbers(gathered: Gathered) -> None:
    """Write compare.json, the report and the tables."""
    result, context, all_analyses, timings = gathered.result, gathered.context, gathered.all_analyses, gathered.timings
    write_json(paths.SUMMARY, comparison.at_a_glance(result, MODELS))
    sentences = [text.replace("**", "") for text in headline(result, all_analyses.baselines, context)]
    summary = {**comparison.summary(result, context, list(MODELS)), "headline": sentences, **analyses.summary(all_analyses)}
    write_json(paths.COMPARISON, summary)
    write_text(paths.REPORT, comparison_report.report(result, context, all_analyses, gathered.models))
    write_text(paths.DETAILS, comparison_report.details(result, context, timings, all_analyses, gathered.models))
    write_spreadsheet(paths.RESULTS_CSV, tables.CSV_HEADER, tables.csv_rows(result, context, timings))
    write_text(paths.RESULTS_TEX, tables.latex(result, context, timings))
    write_spreadsheet(paths.SUSPECT_LABELS, suspect_labels.HEADER, suspect_labels.csv_rows(all_analyses.label_checks))
    write_spreadsheet(paths.CLASS_SCORES, tables.CLASS_HEADER, tables.class_rows(all_analyses.class_scores))
    write_csv(paths.CURVES, curves.CSV_HEADER, curves.csv_rows(gathered.histories))


def draw(gathered: Gathered) -> None:
    """Draw the plots."""
    result, context, all_analyses, histories = gathered.result, gathered.context, gathered.all_analyses, gathered.histories
    names = [row.name for row in result.leaderboard]
    saved = context.of_saved_fold(gathered.models[0].predictions.saved_test)  # calibration and curves are of the saved models
    seconds = {name: timing.train_seconds for name, timing in gathered.timings.items()}
    ends = {row.name: row.interval for row in result.leaderboard}
    suspects = [one for one in all_analyses.label_checks if one.suspect]
    clips = {one.clip for some in (all_analyses.missed, suspects) for one in some[: contact_sheet.SHOWN]}
    frames = read_frames(paths.FRAMES, sorted(clips))
    pictures = {
        "model_comparison": overview.model_comparison(result, context, seconds),
        "all_models_grid": curves.all_models_grid(names, histories, saved),
        "accuracy_intervals": intervals.accuracy_intervals(result, all_analyses.ensembles, context),
        "order_of_frames": order.order_of_frames(
            [one for one in all_analyses.orders if one.model not in result.baselines], result.majority_accuracy, context
        ),
        "reliability": reliability.reliability_diagram(all_analyses.calibrations, saved),
        "accuracy_against_cost": pareto.accuracy_against_cost(all_analyses.costs, ends, context),
        "risk_coverage": risk_plot.risk_coverage_curves([*all_analyses.risks.values()], result.advice.deploy, saved),
        "missed_by_all": contact_sheet.missed_clips(all_analyses.missed, frames, context),
        "suspect_labels": contact_sheet.suspect_labels(all_analyses.label_checks, frames, context),
    }
    for model in gathered.models:
        counts = metrics.confusion(model.test.logits, model.test.labels)
        pictures[f"{model.name}_curves"] = curves.model_curves(model.name, histories[model.name], saved)
        pictures[f"{model.name}_confusion"] = confusion.confusion_matrix(result.row(model.name), counts, context)
    for picture, png in pictures.items():
        with whole_file(paths.PLOTS / f"{picture}.png") as draft:
            draft.write_bytes(png)


def read_audit(context: EvaluationContext) -> dict[str, Any]:
    """Read metrics/audit.json, and check that the report can be written from it."""
    record: dict[str, Any] = read_json(paths.AUDIT)
    try:
        errors.audit(record, context)
    except MALFORMED as error:
        reason = shortened(repr(error), 200)
        raise DataError(f"{paths.AUDIT}: damaged ({reason}). Run `dvc repro -f audit`.") from None
    return record


if __name__ == "__main__":
    entry.run(main)
