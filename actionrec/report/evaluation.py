"""Output of `actionrec evaluate`."""

from actionrec.inference.recompute_metrics import Evaluation
from actionrec.report import percent, table
from actionrec.report.wording import clean, span


def text(found: Evaluation, what: str) -> str:
    """A heading, the metrics, and the accuracy of each class.

    Args:
        what: the clips, in words.
    """
    summary = found.summary()
    rows = [
        [
            "top-1 %",
            f"{percent(summary['top1'])} (95 % interval {span(found.interval)}, bootstrap over {summary['sources']} source videos)",
        ],
        ["top-5 %", percent(summary["top5"])],
        ["mean class %", percent(summary["mean_class"])],
        ["loss", f"{summary['loss']:.4f}"],
        ["calibration error %", _calibration(found)],
        ["answered %", _answered(found)],
    ]
    classes = [[clean(name), f"{clips:,}", percent(share)] for name, clips, share in found.per_class()]
    return "\n\n".join(
        [
            f"{clean(found.model)} on {clean(what)}: {len(found.clips):,} clips"
            + (f", {len(found.failed)} more could not be decoded" if found.failed else ""),
            table(["metric", "value"], rows, "ll"),
            table(["class", "clips", "correct %"], classes, "lrr") + "\n",
        ]
    )


def _calibration(found: Evaluation) -> str:
    summary = found.summary()
    if not found.calibrated:
        return f"{percent(summary['ece'])} (no temperature was fitted)"
    return f"{percent(summary['ece'])}, {percent(summary['ece_calibrated'])} with the fitted temperature"


def _answered(found: Evaluation) -> str:
    summary = found.summary()
    if not found.threshold:
        return "100.0 (the bundle has no threshold)"
    correct = summary["top1_of_answered"]
    correct_share = f"; {percent(correct)} % of these are correct" if correct is not None else ""
    return f"{percent(summary['answered'])} have a top probability of {found.threshold:.2f} or more{correct_share}"
