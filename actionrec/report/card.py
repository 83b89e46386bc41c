"""A trained model's card: what it is, how to use it, what it is worth and what it is not, in the run's own numbers.

In the form that Hugging Face reads: YAML between two lines `---` for programs, then Markdown for people. Without dates and
timings, so that the same run gives the same bytes. Links are the same from metrics/cards and from data/best.
"""

import io
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from actionrec.core.errors import first_few
from actionrec.evaluation import calibration
from actionrec.evaluation.analyses import ClassScore, Difference
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.intervals_and_tests import Interval
from actionrec.evaluation.trained_models import TrainedModel
from actionrec.report import errors, p_value, percent, table
from actionrec.report.wording import (
    DIFFERENCE_HEADER,
    DIFFERENCE_NOTE,
    bullets,
    clean,
    difference_cells,
    listed,
    powerless,
    protocol,
    section,
    span,
)
from actionrec.training.recipes import Recipe

RIGHTS = {
    "sample": "the project's own, MIT",
    "ucf50": "no licence for the videos is stated: for research use",
    "ucf101": "no licence for the videos is stated: for research use",
    "hmdb51": "CC BY 4.0 for the data set, as its authors state",
}
"""Of the data sets that can be fetched, as docs/data.md has them."""

UNTRAINED = (
    "**The backbone is untrained** (`features.weights: random`). The numbers below show that the pipeline runs; they say nothing "
    "about how well the model recognises actions in real footage. It is not for use on real footage."
)
CLASSES = 30  # names in a line; of more, the first and their number
WEAK = 0.5  # an F1 below this is pointed at


@dataclass(frozen=True)
class Evidence:
    """All that is known of one model."""

    model: TrainedModel
    setting: EvaluationContext
    recipe: Recipe
    bundle: Mapping[str, Any]
    """model.json."""
    metrics: Mapping[str, Any]
    """Its metrics.json."""
    comparison: Mapping[str, Any]
    """metrics/compare.json, made with this model."""
    classes: Sequence[ClassScore]
    """Every class that has test clips."""
    audit: Mapping[str, Any]
    """metrics/audit.json."""

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def standing(self) -> Mapping[str, Any]:
        """The model's entry in the comparison."""
        entry: Mapping[str, Any] = self.comparison["models"][self.name]
        return entry


def card(evidence: Evidence) -> str:
    """Write a card.

    Raises:
        KeyError: a record lacks an entry.
    """
    sections = [
        _title(evidence),
        _use(evidence),
        _classes(evidence),
        _data(evidence),
        _results(evidence),
        _order(evidence),
        _confidence(evidence),
        errors.class_scores(evidence.classes, evidence.name, evidence.setting),
        _missed(evidence),
        errors.audit(evidence.audit, evidence.setting),
        _limits(evidence),
        _training(evidence),
        _cost(evidence),
        _licence(evidence),
    ]
    return f"---\n{front_matter(evidence)}---\n\n" + relocated("\n\n".join(sections)) + "\n"


def front_matter(evidence: Evidence) -> str:
    """The part for programs: https://huggingface.co/docs/hub/model-cards; accuracies are fractions."""
    setting, numbers = evidence.setting, evidence.metrics
    metrics = [
        {"type": "accuracy", "name": "top-1", "value": numbers["test_top1"]},
        {"type": "accuracy", "name": "top-5", "value": numbers["test_top5"]},
        {"type": "accuracy", "name": "mean class", "value": numbers["test_mean_class"]},
        {"type": "expected_calibration_error", "name": "ECE, calibrated", "value": numbers["test_ece_calibrated"]},
    ]
    about = {"protocol": setting.protocol, "fold": setting.fold, "clips": setting.test_clips, "sources": setting.test_sources}
    result = {
        "task": {"type": "video-classification", "name": "Video classification"},
        "dataset": {"type": setting.dataset, "name": setting.dataset, "split": "test", "args": about},
        "metrics": metrics,
    }
    untrained = ["untrained-backbone"] if setting.weights == "random" else []
    document = {
        "library_name": "actionrec",
        "license": "mit",
        "pipeline_tag": "video-classification",
        "tags": ["action-recognition", evidence.name.replace("_", "-"), setting.backbone, *untrained],
        "metrics": ["accuracy"],
        "model-index": [{"name": evidence.name, "results": [result]}],
    }
    yaml, text = YAML(), io.StringIO()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(document, text)
    return text.getvalue()


def relocated(text: str) -> str:
    """Links as they are from two folders below the project's root, where sections of the report have them from metrics/."""

    def moved(link: re.Match[str]) -> str:
        return f"](../../{posixpath.normpath(posixpath.join('metrics', link[1]))})"

    return re.sub(r"(?<!\\)\]\(([\w./-]+)\)", moved, text)


def _title(evidence: Evidence) -> str:
    setting, rank, count = evidence.setting, evidence.standing["rank"], len(evidence.comparison["models"])
    reason = evidence.comparison["advice"]["avoid"].get(evidence.name)
    return "\n\n".join(
        filter(
            None,
            [
                f"# {clean(evidence.name)}, trained on {clean(setting.dataset)}",
                UNTRAINED if setting.weights == "random" else "",
                f"**The comparison advises against it**: {clean(reason, 200)}." if reason else "",
                f"It says which of {len(setting.class_names)} actions a video clip shows. {setting.frames} frames, evenly spaced "
                f"over the clip, go one by one through a frozen image network, {clean(setting.backbone)}; the sequence model "
                f"{clean(evidence.name)} reads the {setting.frames} feature vectors and gives each class a probability. It is "
                f"number {rank} of the {count} models of its run, which [the report](report.md) compares.",
            ],
        )
    )


def _use(evidence: Evidence) -> str:
    folder = f"data/models/{evidence.name}"
    return section(
        "How to use it",
        "`--model` takes a bundle's folder, wherever it is.",
        "```console\n"
        f"$ actionrec predict clip.mp4 --model {folder}\n"
        f"$ actionrec predict film.mp4 --model {folder} --window 4\n"
        f"$ actionrec predict clip.mp4 --model {folder} --explain why.png\n"
        "```",
        f'```python\nimport actionrec\n\nprint(actionrec.load("{folder}").predict("clip.mp4").top(3))\n```',
        "The bundle is `model.safetensors` and `model.json`; nothing in it is run as code. "
        + _backbone_file(evidence.setting.weights, evidence.setting.backbone),
    )


def _backbone_file(weights: str, backbone: str) -> str:
    if weights == "random":
        return "The backbone's random weights come from a fixed seed."
    if is_file(weights):
        return (
            f"The backbone's weights, {clean(weights)}, are a file of their own: name it with `--backbone`, or lay it into a copy "
            "of the bundle's folder as `backbone.safetensors`. Others are refused, by their hash."
        )
    return f"torchvision's {clean(weights)} of {clean(backbone)} is downloaded at the first use, and checked by its hash."


def is_file(weights: str) -> bool:
    """Whether a bundle's weights were read from a file, not had by their name."""
    return weights.endswith((".safetensors", ".pth", ".pt"))


def _classes(evidence: Evidence) -> str:
    names = [clean(name) for name in evidence.setting.class_names]
    shown = listed(names) if len(names) <= CLASSES else first_few(names, CLASSES)
    rest = "" if len(names) <= CLASSES else " All are in `model.json`."
    return section("Classes", f"{len(names)}: {shown}.{rest}")


def _data(evidence: Evidence) -> str:
    setting, about = evidence.setting, evidence.bundle["features"]
    official = setting.protocol == "official"
    which = f"official, list {setting.fold}" if official else f"{setting.protocol}, fold {setting.fold} of {setting.folds}"
    chosen = f"{setting.val_clips:,} validation clips" if setting.val_clips else "**the test clips**"
    frames = evidence.model.frames
    rows = [
        ["data set", f"{clean(setting.dataset)}, {setting.clips:,} clips; {setting.failed:,} could not be decoded"],
        ["split", f"{which}, seed {setting.seed}"],
        ["training clips", f"{setting.train_clips:,}"],
        ["validation clips", f"{setting.val_clips:,}"],
        ["test clips", f"{setting.test_clips:,}, from {setting.test_sources:,} source videos or persons"],
        ["epoch chosen on", chosen],
        ["frames", f"{frames['count']} a clip, {frames['resolution']} x {frames['resolution']}, {frames['format']}"],
        [
            "backbone",
            f"{clean(about['backbone'])}, frozen; weights: "
            + ("**UNTRAINED**, " if _untrained(evidence) else "")
            + f"{clean(about['weights'])}; {about['precision']}",
        ],
        ["SHA-256 of these weights", f"`{about['weights_sha256']}`"],
        ["SHA-256 of model.safetensors", f"`{evidence.bundle['sha256']}`"],
        ["trained with", f"actionrec {clean(str(evidence.bundle.get('actionrec_version', 'of an unknown version')))}"],
    ]
    return section("Data and protocol", table(["what", "value"], rows, "ll"), PROTOCOLS[setting.protocol])


PROTOCOLS = {
    "group": "Clips of one source video or person are on one side of the split: the numbers are about new videos.",
    "random": "Clips were split one by one, whatever video they were cut from: the numbers are about new clips of known videos.",
    "official": "The data set's own lists say which clips are for training and which for testing.",
}


def _untrained(evidence: Evidence) -> bool:
    return evidence.setting.weights == "random"


def _results(evidence: Evidence) -> str:
    standing, numbers, setting = evidence.standing, evidence.metrics, evidence.setting
    interval = Interval(standing["top1_low"], standing["top1_high"])
    wilson = Interval(standing["top1_wilson_low"], standing["top1_wilson_high"])
    top5 = Interval(standing["top5_low"], standing["top5_high"])
    ends = [span(interval), span(wilson)]
    if setting.seeds > 1:
        mean = f"{percent(standing['top1'])} ± {percent(standing['top1_std'])}"
        rows = [["top-1, this bundle", percent(numbers["test_top1"]), "", ""], [f"top-1, {setting.seeds} runs", mean, *ends]]
    else:
        rows = [["top-1", percent(numbers["test_top1"]), *ends]]
    rows.append(["top-5", percent(numbers["test_top5"]), span(top5), ""])
    rows.append(["mean class", percent(numbers["test_mean_class"]), "", ""])
    if "val_top1" in numbers:
        rows.append(["top-1 on validation clips", percent(numbers["val_top1"]), "", ""])
    rows.append(["always the most frequent class", percent(evidence.comparison["most_frequent_class"]), "", ""])
    runs = f" Runs: the mean and deviation of {setting.seeds} trainings, of which the bundle is one." if setting.seeds > 1 else ""
    return section(
        "Results",
        protocol(setting),
        table(["what", "%", "95 % interval", "Wilson"], rows, "lrrr"),
        "95 % interval: from a bootstrap of whole sources, as clips of one source are right or wrong together. Wilson: as if clips "
        f"were independent. Mean class: every class counts alike. [How](../docs/protocols.md).{runs}",
        bullets(_against(evidence)),
        _baselines(evidence),
    )


def _against(evidence: Evidence) -> list[str]:
    """What the model is compared with guessing and with the others of its run."""
    name, standing, comparison = evidence.name, evidence.standing, evidence.comparison
    majority_accuracy = f"always answering the most frequent class, {percent(comparison['most_frequent_class'])} %"
    how = f"p {p_value(standing['p_guessing'])}; the interval of top-1 starts at {percent(standing['top1_low'])} %"
    beats = standing["beats_guessing"]
    points = [
        f"Better than {majority_accuracy} ({how})." if beats else f"**Not shown to be better than {majority_accuracy}** ({how})."
    ]
    pairs = [pair for pair in comparison["pairs"] if name in (pair["a"], pair["b"])]
    ties = [_other(pair, name) for pair in pairs if pair["verdict"] == "tie"]
    ahead = [_other(pair, name) for pair in pairs if pair["verdict"] == f"{name} is better"]
    behind = [_other(pair, name) for pair in pairs if pair["verdict"] not in ("tie", f"{name} is better")]
    points += [f"Significantly more accurate than {listed(ahead)}."] if ahead else []
    points += [f"**Significantly less accurate than {listed(behind)}.**"] if behind else []
    points += [f"The test cannot tell it from {listed(ties)}: a tie is no proof that they are alike."] if ties else []
    if comparison["best"] == name:
        points.append("It was put first on these same test clips, so its accuracy is a little optimistic.")
    return points


def _other(pair: Mapping[str, Any], name: str) -> str:
    return clean(pair["b"] if pair["a"] == name else pair["a"])


def _baselines(evidence: Evidence) -> str:
    top1 = {one["name"]: one["top1"] for one in evidence.comparison["baselines"]}
    rows = [
        [clean(gain["baseline"]), percent(top1[gain["baseline"]]), *difference_cells(_difference(gain))]
        for gain in evidence.comparison["gains"]
        if gain["model"] == evidence.name
    ]
    difference, *others = DIFFERENCE_HEADER
    return "\n\n".join(
        filter(
            None,
            [
                table(["baseline", "top-1 %", f"model's {difference}", *others], rows, "lrrrrl"),
                "Baselines: logistic regression on the mean of a clip's features over time, or on its middle frame alone. "
                + DIFFERENCE_NOTE,
                powerless(len(evidence.comparison["models"]), evidence.setting),
            ],
        )
    )


def _difference(row: Mapping[str, Any]) -> Difference:
    return Difference(row["difference"], Interval(row["difference_low"], row["difference_high"]), row["p"])


def _order(evidence: Evidence) -> str:
    [row] = [one for one in evidence.comparison["order_of_frames"] if one["model"] == evidence.name]
    test = _difference(row)
    verdict = {
        "better": "**Shown to use the order of frames**",
        "tie": "**Not shown to use the order of frames**",
        "worse": "**Better with its frames shuffled**: the order does it no good",
    }[test.verdict]
    return section(
        "Does the order of frames matter to it",
        f"Top-1 {percent(row['top1'])} % with the frames as they are, {percent(row['shuffled'])} % shuffled, "
        f"{percent(row['reversed'])} % backwards, {percent(row['one_frame'])} % with the middle frame in place of all. {verdict} "
        f"(p {p_value(test.p)}, corrected over the models of the run).",
        "Test clips alone were changed. A model that is as good on the middle frame alone reads scenes, not motion.",
    )


def _confidence(evidence: Evidence) -> str:
    numbers, setting = evidence.metrics, evidence.setting
    errors_of = (percent(numbers["test_ece"]), percent(numbers["test_ece_calibrated"]))
    if "temperature" not in numbers:
        return section(
            "Can its confidence be believed",
            "**Not calibrated**: there were no validation clips to fit a temperature on. Confidence and accuracy on the test clips "
            f"differ by {errors_of[0]} points (ECE). No threshold was fitted: no answer is marked as unsure.",
        )
    if numbers["temperature_fitted"]:
        temperature = (
            f"Confidence and accuracy on the test clips differ by {errors_of[0]} points as trained and by {errors_of[1]} as it "
            f"answers (ECE, 15 bins): logits are divided by a temperature of {numbers['temperature']:.3g}, fitted on "
            f"{setting.val_clips:,} validation clips. Few clips make ECE too high."
        )
    else:
        temperature = (
            f"**Not calibrated**: all {setting.val_clips:,} validation clips are answered correctly, so no temperature could be "
            f"fitted. Confidence and accuracy on the test clips differ by {errors_of[0]} points (ECE, 15 bins)."
        )
    if numbers["threshold"]:
        threshold = (
            f"Below a confidence of {percent(numbers['threshold'])} % an answer is marked as unsure: the clip may show none of the "
            f"classes. {percent(calibration.KEPT)} % of the correct validation answers reach that; how many clips of other actions "
            "it stops was not measured."
        )
    else:
        threshold = (
            f"No threshold was fitted, as that takes {calibration.FEWEST_ANSWERS} correct validation answers: no answer is marked "
            "as unsure."
        )
    return section(
        "Can its confidence be believed",
        temperature,
        threshold,
    )


def _missed(evidence: Evidence) -> str:
    test, names = evidence.model.test, evidence.setting.class_names
    temperature = evidence.metrics.get("temperature", 1.0)
    shares = calibration.softmax(test.logits, temperature)
    answers: NDArray[np.int64] = test.logits.argmax(axis=1)
    wrong = np.flatnonzero(answers != test.labels)
    title = "Test clips that it gets wrong"
    if not len(wrong):
        return section(title, f"None of {len(test.labels):,}.")
    nobody = set(evidence.comparison["missed_by_all"])
    surest = sorted(wrong, key=lambda row: (-shares[row, answers[row]], str(test.clips[row])))[: errors.LISTED]
    rows = [
        [
            clean(str(test.clips[row])),
            clean(names[test.labels[row]]),
            clean(names[answers[row]]),
            percent(shares[row, answers[row]]),
            "yes" if str(test.clips[row]) in nobody else "",
        ]
        for row in surest
    ]
    return section(
        title,
        protocol(evidence.setting),
        table(["clip", "true class", "taken for", "confidence %", "by all models"], rows, "lllrl"),
        f"{len(wrong):,} of {len(test.labels):,}, the surest first"
        + (f"; these are {errors.LISTED}." if len(wrong) > errors.LISTED else "."),
    )


def _limits(evidence: Evidence) -> str:
    setting = evidence.setting
    points = [
        f"{setting.test_clips:,} test clips: one more or less right moves top-1 by {percent(1 / setting.test_clips)} points. They "
        f"come from {setting.test_sources:,} sources, which is what the interval goes by.",
        f"It looks at {setting.frames} frames of the whole clip, however long that is. A short action in a long film wants "
        "`--window`.",
        f"It knows {len(setting.class_names)} classes and was never shown anything else: what it says of a clip of no class is a "
        "guess.",
    ]
    if _untrained(evidence):
        points.insert(0, "**The backbone is untrained**: nothing here is about real footage.")
    else:
        points.append("Footage of another kind than the data set's (cameras, places, people) was not tested.")
    if not setting.val_clips:
        points.append("**The epoch was chosen on the test clips**: every accuracy here is too high by an unknown amount.")
    if setting.sibling_share:
        points.append(
            f"**The split leaks**: {percent(setting.sibling_share)} % of the test clips have a sibling from the same source video "
            "in training. Expect less on new videos."
        )
    points += [f"**Look at the split**: {clean(note, 400)}" for note in setting.split_warnings]
    if setting.classes_without_test_clips:
        names = first_few([clean(name) for name in setting.classes_without_test_clips], 10)
        points.append(f"No test clips, so nothing is known about: {names}.")
    if setting.clips_without_group:
        points.append(
            f"The names of {setting.clips_without_group:,} of {setting.clips:,} clips tell no source: some may have siblings in "
            "training that nobody knows of."
        )
    if setting.duplicated_clips:
        points.append(f"{setting.duplicated_clips:,} clips are byte for byte the same as another one.")
    if setting.padded:
        points.append(f"{setting.padded:,} clips have fewer than {setting.frames} frames; their last ones were repeated.")
    weak = [clean(one.name) for one in sorted(evidence.classes, key=lambda one: (one.f1, one.name)) if one.f1 < WEAK]
    if weak:
        points.append(f"**Weak at** (F1 below {percent(WEAK)} %): {first_few(weak, 10)}.")
    return section("Limits", bullets(points))


def _training(evidence: Evidence) -> str:
    numbers, setting, model = evidence.metrics, evidence.setting, evidence.model
    notes = "; ".join(clean(note, 400) for note in model.health_notes)
    seeds = f"{numbers['seeds']} training runs; this is seed {numbers['best_seed']}'s" if setting.seeds > 1 else "1 training run"
    settings = {key: value for key, value in asdict(evidence.recipe.train).items() if key != "seeds"}
    rows = [[f"`{key}`", _value(value)] for key, value in {**evidence.recipe.arguments, **settings}.items()]
    return section(
        "Training",
        f"{seeds}; epoch {numbers['best_epoch']} of {numbers['epochs']} was kept, chosen on the {setting.epoch_chosen_on} clips. "
        f"Verdict on the training: **{clean(model.health)}**" + (f" ({notes})." if notes else "."),
        table(["parameter", "value"], rows, "lr"),
        "Adam on the cross-entropy; the backbone was not trained. `params.yaml` explains each parameter.",
    )


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_value, value))
    return str(value).lower() if isinstance(value, bool) else clean(str(value))


def _cost(evidence: Evidence) -> str:
    numbers = evidence.metrics
    return section(
        "Cost",
        f"{numbers['parameters']:,} parameters; {numbers['flops'] / 1e6:,.1f} MFLOPs a clip from features on, a multiplication and "
        f"an addition being two. The backbone comes on top: one pass for each of {evidence.setting.frames} frames, which is most "
        "of the work.",
    )


def _licence(evidence: Evidence) -> str:
    setting = evidence.setting
    rights = RIGHTS.get(setting.dataset, "its owner's; no terms are known here. Ask before you pass the model on")
    points = [
        "Code and this card: MIT.",
        f"The clips that it was trained on ({clean(setting.dataset)}): {rights}.",
    ]
    if is_file(setting.weights):
        points.append(f"The backbone's weights ({clean(setting.weights)}): their author's; no terms are known here.")
    elif not _untrained(evidence):
        points.append(
            f"The backbone's weights ({clean(setting.weights)}): torchvision's. It notes that weights may have terms of their own, "
            "from the data that they were trained on."
        )
    points.append("Whether a trained model is bound by the terms of what it learned from is not settled everywhere.")
    return section("Licence", bullets(points))
