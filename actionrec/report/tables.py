"""The results table as CSV for spreadsheets and as LaTeX for papers, and each class's scores as CSV."""

from collections.abc import Iterator, Mapping, Sequence

from actionrec.core.text import on_one_line, percent
from actionrec.evaluation.analyses import ClassScore
from actionrec.evaluation.comparison import Comparison
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.trained_models import Timing
from actionrec.features.settings import streams_phrase

CSV_HEADER = (
    "rank",
    "model",
    "top1_percent",
    "top1_low_percent",
    "top1_high_percent",
    "top1_std_percent",
    "wilson_low_percent",
    "wilson_high_percent",
    "top5_percent",
    "top5_low_percent",
    "top5_high_percent",
    "mean_class_percent",
    "val_top1_percent",
    "best_epoch",
    "parameters",
    "efficiency_percent_per_million",
    "p_against_best",
    "tied_with_best",
    "train_seconds",
    "clips_per_second",
    "device",
    "dataset",
    "protocol",
    "fold",
    "folds",
    "epoch_chosen_on",
    "test_clips",
    "backbone",
    "weights",
)


CLASS_HEADER = ("model", "class", "test_clips", "precision", "recall", "f1")


def csv_rows(comparison: Comparison, context: EvaluationContext, timings: Mapping[str, Timing]) -> list[list[str | int | float]]:
    """Rows under CSV_HEADER, in order of rank; a missing value is empty."""
    rows: list[list[str | int | float]] = []
    for one in comparison.leaderboard:
        top1 = (one.top1, one.interval.low, one.interval.high)
        pair = comparison.against_first(one.name)
        timing = timings[one.name]
        rows.append(
            [
                one.rank,
                one.name,
                *(f"{100 * share:.2f}" for share in top1),
                "" if one.std is None else f"{100 * one.std:.2f}",
                *(f"{100 * share:.2f}" for share in (one.wilson.low, one.wilson.high)),
                *(f"{100 * share:.2f}" for share in (one.top5, one.top5_interval.low, one.top5_interval.high, one.mean_class)),
                "" if one.val_top1 is None else f"{100 * one.val_top1:.2f}",
                one.best_epoch,
                one.parameters,
                f"{one.efficiency:.3f}",
                "" if pair is None else f"{pair.test.p:.4g}",
                "yes" if pair is None or not pair.apart else "no",
                f"{timing.train_seconds:.1f}",
                f"{timing.clips_per_second:.1f}",
                timing.device,
                context.dataset,
                context.protocol,
                "all" if context.evaluated_folds > 1 else context.fold,
                context.folds,
                context.epoch_chosen_on,
                context.test_clips,
                ", ".join(filter(None, (context.backbone, streams_phrase(context.streams)))),
                context.weights,
            ]
        )
    return rows


def class_rows(scores: Mapping[str, Sequence[ClassScore]]) -> Iterator[list[str | int]]:
    """Rows under CLASS_HEADER: every class of every model; fractions."""
    for model, classes in scores.items():
        for one in classes:
            yield [model, one.name, one.clips, *(f"{share:.4f}" for share in (one.precision, one.recall, one.f1))]


def latex(comparison: Comparison, context: EvaluationContext, timings: Mapping[str, Timing]) -> str:
    """A table for the booktabs package with the label tab:actionrec-results; the first model and its ties are bold."""
    titles = ["Model", "Top-1 (\\%)", "95\\,\\% interval", "Top-5 (\\%)", "Mean class (\\%)"]
    titles += ["Parameters (M)", "Top-1/M", "Training (s)"]
    lines = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{Test accuracy ({escape_latex(context.phrase)}). Top-1 with 95\\,\\% interval from a bootstrap "
        "over source videos; bold: the highest top-1, and models not shown to differ from it (joint test of all pairs). "
        f"Backbone: {escape_latex(context.backbone)}, weights: {escape_latex(context.weights)}.}}",
        "  \\label{tab:actionrec-results}",
        "  \\begin{tabular}{lrcrrrrr}",
        "    \\toprule",
        f"    {' & '.join(titles)} \\\\",
        "    \\midrule",
    ]
    for one in comparison.leaderboard:
        pair = comparison.against_first(one.name)
        top1 = percent(one.top1) if pair is not None and pair.apart else f"\\textbf{{{percent(one.top1)}}}"
        cells = [
            escape_latex(one.name),
            top1,
            f"{percent(one.interval.low)}--{percent(one.interval.high)}",
            percent(one.top5),
            percent(one.mean_class),
            f"{one.parameters / 1e6:.2f}",
            f"{one.efficiency:.1f}",
            f"{timings[one.name].train_seconds:.1f}",
        ]
        lines.append(f"    {' & '.join(cells)} \\\\")
    lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Make any text safe in a LaTeX paragraph."""
    signs = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    signs |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}
    signs |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return "".join(signs.get(sign, sign) for sign in on_one_line(text))
