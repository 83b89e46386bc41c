"""Model card: what a trained model is, how to use it, and its results and limits.

The format is Hugging Face's: YAML between two `---` lines for programs, then Markdown for people, from templates/card.md.j2.
There are no dates or timings, so the same run writes the same bytes. Links work from metrics/cards and from data/best.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from actionrec.core.text import percent
from actionrec.evaluation import calibration
from actionrec.evaluation.analyses import ClassScore
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.logits import answers
from actionrec.evaluation.trained_models import TrainedModel
from actionrec.features.settings import RGB_ONLY
from actionrec.report import errors, p_value, rendering, table
from actionrec.report.rendering import render
from actionrec.report.wording import clean, points, protocol, span
from actionrec.training import logistic_regression
from actionrec.training.recipes import Recipe

RIGHTS = {
    "sample": "the project's own, MIT",
    "ucf50": "no licence for the videos is stated: for research use",
    "ucf101": "no licence for the videos is stated: for research use",
    "hmdb51": "CC BY 4.0 for the data set, as its authors state",
}
"""Rights to the clips of the data sets that can be downloaded, as in docs/data.md."""
UNKNOWN_RIGHTS = "its owner's; the terms are not known here. Ask before you share the model"

WEAK = 0.5  # a class with a lower F1 is named in the limits


@dataclass(frozen=True)
class Evidence:
    """Everything that a card is written from."""

    model: TrainedModel
    context: EvaluationContext
    recipe: Recipe
    bundle: Mapping[str, Any]
    """model.json."""
    metrics: Mapping[str, Any]
    """Its metrics.json."""
    comparison: Mapping[str, Any]
    """metrics/compare.json of the same run."""
    classes: Sequence[ClassScore]
    """Every class that has test clips."""
    audit: Mapping[str, Any]
    """metrics/audit.json."""

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def saved(self) -> EvaluationContext:
        """The context of the numbers of this bundle alone."""
        return self.context.of_saved_fold(self.model.predictions.saved_test)

    @property
    def entry(self) -> Mapping[str, Any]:
        """The model's entry in the comparison."""
        record: Mapping[str, Any] = self.comparison["models"][self.name]
        return record


def card(evidence: Evidence) -> str:
    """Write a card.

    Raises:
        KeyError: a record lacks an entry.
    """
    context, comparison, name = evidence.context, evidence.comparison, evidence.name
    [order] = [row for row in comparison["order_of_frames"] if row["model"] == name]
    weak = [score for score in evidence.classes if score.f1 < WEAK]
    body = render(
        "card.md.j2",
        name=name,
        model=evidence.model,
        context=context,
        saved=evidence.saved,
        numbers=evidence.metrics,
        comparison=comparison,
        entry=evidence.entry,
        untrained=context.weights == "random",
        weights_are_a_file=is_file(context.weights),
        reason_to_avoid=comparison["advice"]["avoid"].get(name),
        protocol=protocol(context),
        saved_protocol=protocol(evidence.saved),
        data_table=_data_table(evidence),
        results_table=_results_table(evidence),
        **_pairs(evidence),
        baselines_table=_baselines_table(evidence),
        order=order,
        kept=calibration.KEPT,
        fewest_answers=calibration.FEWEST_ANSWERS,
        class_scores=errors.class_scores(evidence.classes, name, context),
        **_wrong_clips(evidence),
        listed_clips=errors.LISTED,
        audit=errors.audit(evidence.audit, context),
        weak=WEAK,
        weak_classes=[clean(score.name) for score in sorted(weak, key=lambda score: (score.f1, score.name))],
        training_table=_training_table(evidence),
        solved=evidence.recipe.solved,
        rights=RIGHTS.get(context.dataset, UNKNOWN_RIGHTS),
    )
    return f"---\n{front_matter(evidence)}---\n\n{relocated(body)}"


def front_matter(evidence: Evidence) -> str:
    """The YAML part, see https://huggingface.co/docs/hub/model-cards; accuracies are fractions."""
    context, numbers = evidence.context, evidence.metrics
    metrics = [
        {"type": "accuracy", "name": "top-1", "value": numbers["test_top1"]},
        {"type": "accuracy", "name": "top-5", "value": numbers["test_top5"]},
        {"type": "accuracy", "name": "mean class", "value": numbers["test_mean_class"]},
        {"type": "expected_calibration_error", "name": "ECE, calibrated", "value": numbers["test_ece_calibrated"]},
    ]
    saved = evidence.saved
    about = {"protocol": context.protocol, "fold": context.fold, "clips": saved.test_clips, "sources": saved.test_sources}
    result = {
        "task": {"type": "video-classification", "name": "Video classification"},
        "dataset": {"type": context.dataset, "name": context.dataset, "split": "test", "args": about},
        "metrics": metrics,
    }
    untrained = ["untrained-backbone"] if context.weights == "random" else []
    document = {
        "library_name": "actionrec",
        "license": "mit",
        "pipeline_tag": "video-classification",
        "tags": ["action-recognition", evidence.name.replace("_", "-"), context.backbone, *untrained],
        "metrics": ["accuracy"],
        "model-index": [{"name": evidence.name, "results": [result]}],
    }
    return rendering.front_matter(document)


def relocated(text: str) -> str:
    """Rewrite links relative to metrics/ as links relative to a folder two levels below the project's root."""

    def moved(link: re.Match[str]) -> str:
        return f"](../../{posixpath.normpath(posixpath.join('metrics', link[1]))})"

    return re.sub(r"(?<!\\)\]\(([\w./-]+)\)", moved, text)


def is_file(weights: str) -> bool:
    """Whether the backbone's weights came from a file rather than from torchvision."""
    return weights.endswith((".safetensors", ".pth", ".pt"))


def _data_table(evidence: Evidence) -> str:
    context, saved, features, frames = evidence.context, evidence.saved, evidence.bundle["features"], evidence.model.frames
    untrained = "**UNTRAINED**, " if context.weights == "random" else ""
    kept = "tuned" if context.tuning else "frozen"
    rows = [
        ["data set", f"{clean(context.dataset)}, {context.clips:,} clips; {context.failed:,} could not be decoded"],
        ["split", f"{saved.split_phrase}, seed {context.seed}"],
        ["training clips", f"{context.train_clips:,}"],
        ["validation clips", f"{context.val_clips:,}"],
        ["test clips", _tested(saved)],
        *([["test clips of " + context.folds_phrase, _tested(context)]] if context.evaluated_folds > 1 else []),
        ["epoch chosen on", f"{context.val_clips:,} validation clips" if context.val_clips else "**the test clips**"],
        ["frames", f"{frames['count']} per clip, {frames['resolution']} x {frames['resolution']}, {frames['format']}"],
        [
            "backbone",
            f"{clean(features['backbone'])}, {kept}; weights: {untrained}{clean(features['weights'])}; {features['precision']}",
        ],
        *([["streams", ", ".join(context.streams)]] if context.streams != RGB_ONLY else []),
        ["SHA-256 of these weights", f"`{features['weights_sha256']}`"],
        ["SHA-256 of model.safetensors", f"`{evidence.bundle['sha256']}`"],
    ]
    return table(["what", "value"], rows, "ll")


def _tested(context: EvaluationContext) -> str:
    return f"{context.test_clips:,}, from {context.test_sources:,} source videos or persons"


def _results_table(evidence: Evidence) -> str:
    entry, numbers, context = evidence.entry, evidence.metrics, evidence.context
    interval, wilson, top5 = (
        span(Interval(entry[f"{score}_low"], entry[f"{score}_high"])) for score in ("top1", "top1_wilson", "top5")
    )
    runs = [f"{context.evaluated_folds} folds"] * (context.evaluated_folds > 1) + [f"{context.seeds} seeds"] * (context.seeds > 1)
    pooled = f", {runs[0]}" if context.evaluated_folds > 1 else ""
    if runs:
        spread = f" ± {percent(entry['top1_std'])}" if context.seeds > 1 else ""
        own = f"top-1, this bundle on fold {context.fold}" if context.evaluated_folds > 1 else "top-1, this bundle"
        rows = [
            [own, percent(numbers["test_top1"]), "", ""],
            [f"top-1, {' and '.join(runs)}", f"{percent(entry['top1'])}{spread}", interval, wilson],
        ]
    else:
        rows = [["top-1", percent(numbers["test_top1"]), interval, wilson]]
    rows.append([f"top-5{pooled}", percent(entry["top5"]), top5, ""])
    rows.append([f"mean class{pooled}", percent(entry["mean_class"]), "", ""])
    if "val_top1" in numbers:
        rows.append(["top-1 on validation clips", percent(numbers["val_top1"]), "", ""])
    rows.append(["always the most frequent class", percent(evidence.comparison["most_frequent_class"]), "", ""])
    return table(["what", "%", "95 % interval", "Wilson"], rows, "lrrr")


def _pairs(evidence: Evidence) -> dict[str, list[str]]:
    """Names of the other models, by the result of the tests: better or worse than this model, or a tie."""
    name = evidence.name
    names: dict[str, list[str]] = {"better": [], "worse": [], "ties": []}
    for pair in evidence.comparison["pairs"]:
        if name in (pair["a"], pair["b"]):
            other = pair["b"] if pair["a"] == name else pair["a"]
            result = {"no difference shown": "ties", f"{name} is better": "worse"}.get(pair["verdict"], "better")
            names[result].append(clean(other))
    return names


def _baselines_table(evidence: Evidence) -> str:
    rows = [
        [
            clean(gain["baseline"]),
            percent(evidence.comparison["models"][gain["baseline"]]["top1"]),
            points(gain["difference"]),
            f"{points(gain['difference_low'])} to {points(gain['difference_high'])}",
            p_value(gain["p"]),
            gain["verdict"],
        ]
        for gain in evidence.comparison["gains"]
        if gain["model"] == evidence.name
    ]
    return table(["baseline", "top-1 %", "model's gain, points", "95 % interval", "p", "verdict"], rows, "lrrrrl") if rows else ""


def _wrong_clips(evidence: Evidence) -> dict[str, Any]:
    """Number and table of this bundle's misclassified test clips, highest confidence first."""
    test, names = evidence.model.predictions.saved_test, evidence.context.class_names
    answered = calibration.confidences(test.logits, test.labels, evidence.metrics.get("temperature", 1.0))
    predicted, wrong = answers(test.logits), np.flatnonzero(~answered.correct)
    by_all = set(evidence.comparison["missed_by_all"])
    ordered = sorted(wrong, key=lambda row: (-answered.top[row], str(test.clips[row])))
    rows = [
        [
            clean(str(test.clips[row])),
            clean(names[test.labels[row]]),
            clean(names[predicted[row]]),
            percent(answered.top[row]),
            "yes" if str(test.clips[row]) in by_all else "",
        ]
        for row in ordered[: errors.LISTED]
    ]
    header = ["clip", "true class", "predicted", "confidence %", "wrong in all models"]
    return {"wrong_count": len(wrong), "wrong_table": table(header, rows, "lllrl")}


def _training_table(evidence: Evidence) -> str:
    unused = ("seeds", *(logistic_regression.UNUSED if evidence.recipe.solved else ()))
    settings = {key: value for key, value in asdict(evidence.recipe.train).items() if key not in unused}
    rows = [[f"`{key}`", _value(value)] for key, value in {**evidence.recipe.arguments, **settings}.items()]
    return table(["parameter", "value"], rows, "lr")


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_value, value))
    return str(value).lower() if isinstance(value, bool) else clean(str(value))
