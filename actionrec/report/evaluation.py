"""Output of `actionrec evaluate`."""

from actionrec.core.text import percent
from actionrec.inference.recompute_metrics import Evaluation
from actionrec.report import table
from actionrec.report.class_table import class_table
from actionrec.report.wording import clean, span

CLASSES_HEADER = ("class", "clips", "top1")


def text(evaluation: Evaluation, what: str) -> str:
    """A heading, the metrics, and the accuracy of each class.

    Args:
        what: the clips, in words.
    """
    summary = evaluation.summary()
    interval = f"95 % interval {span(evaluation.interval)}, bootstrap over {summary['sources']} source videos"
    rows = [
        ["top-1 %", f"{percent(summary['top1'])} ({interval})"],
        ["top-5 %", percent(summary["top5"])],
        ["mean class %", percent(summary["mean_class"])],
        ["loss", f"{summary['loss']:.4f}"],
        ["calibration error %", _calibration(evaluation)],
        ["answered %", _answered(evaluation)],
    ]
    classes = [[clean(name), f"{clips:,}", percent(share)] for name, clips, share in evaluation.per_class()]
    return "\n\n".join(
        [
            f"{clean(evaluation.model)} on {clean(what)}: {len(evaluation.clips):,} clips"
            + (f", {len(evaluation.failed)} more could not be decoded" if evaluation.failed else ""),
            table(["metric", "value"], rows, "ll"),
            class_table(["class", "clips", "correct %"], classes, "lrr", "`--csv` prints all of them.") + "\n",
        ]
    )


def class_rows(evaluation: Evaluation) -> list[list[str | int]]:
    """Rows under CLASSES_HEADER, accuracy as a fraction."""
    return [[name, clips, f"{share:.4f}"] for name, clips, share in evaluation.per_class()]


def _calibration(evaluation: Evaluation) -> str:
    summary = evaluation.summary()
    if not evaluation.calibrated:
        return f"{percent(summary['ece'])} (no temperature was fitted)"
    return f"{percent(summary['ece'])}, {percent(summary['ece_calibrated'])} with the fitted temperature"


def _answered(evaluation: Evaluation) -> str:
    summary = evaluation.summary()
    if not evaluation.threshold:
        return "100.0 (the bundle has no threshold)"
    correct = summary["top1_of_answered"]
    correct_share = f"; {percent(correct)} % of these are correct" if correct is not None else ""
    return f"{percent(summary['answered'])} have a top probability of {evaluation.threshold:.2f} or more{correct_share}"
