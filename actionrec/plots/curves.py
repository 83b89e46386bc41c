"""Loss and top-1 over the epochs of training, for one model and for all."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from actionrec.core.text import shorten
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.trained_models import History
from actionrec.plots.canvas import COLOURS, GREY, drawing, png

COLUMNS = 4  # of the grid of all models


CSV_HEADER = ("model", "epoch", "train_loss", "train_top1", "held_out_loss", "held_out_top1")


def csv_rows(histories: Mapping[str, History]) -> Iterator[list[str | int | float]]:
    """Rows under CSV_HEADER, for charts of all models in one."""
    for model, history in histories.items():
        curves = zip(history.train_loss, history.train_top1, history.held_loss, history.held_top1, strict=True)
        for epoch, values in enumerate(curves, start=1):
            yield [model, epoch, *values]


def model_curves(name: str, history: History, context: EvaluationContext) -> bytes:
    """Draw loss and top-1 of one model side by side."""
    with drawing():
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        figure.suptitle(f"{name}\n{shorten(context.phrase, 110)}")
        loss, top1 = figure.subplots(1, 2)
        _loss(loss, name, history)
        _top1(top1, name, history)
        loss.set_title("Loss, nats", loc="left")
        top1.set_title("Top-1 accuracy, %", loc="left")
        for axes in (loss, top1):
            axes.set_xlabel("epoch")
        _legend(figure, context)
        return png(figure)


def all_models_grid(names: Sequence[str], histories: Mapping[str, History], context: EvaluationContext) -> bytes:
    """Draw every model's loss above its top-1, with the same axis limits for all models, in the order of `names`.

    Models with a single epoch have no curve. They are left out, unless every model has a single epoch.
    """
    plotted_names = [name for name in names if len(histories[name].train_loss) > 1] or names
    left_out = [name for name in names if name not in plotted_names]
    with drawing():
        bands = -(-len(plotted_names) // COLUMNS)
        figure = Figure(figsize=(12, 0.9 + 4.3 * bands), layout="constrained")
        without = shorten(f"; not shown, as they have a single epoch: {', '.join(left_out)}", 110) if left_out else ""
        figure.suptitle(f"Training of all models{without}\n{shorten(context.phrase, 130)}")
        panels = figure.subplots(2 * bands, COLUMNS, sharex=True, squeeze=False)
        used: list[tuple[Axes, Axes]] = []
        for place, name in enumerate(plotted_names):
            band, column = divmod(place, COLUMNS)
            loss, top1 = panels[2 * band, column], panels[2 * band + 1, column]
            if used:
                loss.sharey(used[0][0])
                top1.sharey(used[0][1])
            used.append((loss, top1))
            _loss(loss, name, histories[name])
            _top1(top1, name, histories[name])
            loss.set_title(f"{names.index(name) + 1}. {name}")
            loss.tick_params(labelbottom=False, labelleft=column == 0)
            top1.tick_params(labelbottom=True, labelleft=column == 0)
            top1.set_xlabel("epoch")
            if column == 0:
                loss.set_ylabel("loss, nats")
                top1.set_ylabel("top-1, %")
        for place in range(len(plotted_names), bands * COLUMNS):
            band, column = divmod(place, COLUMNS)
            panels[2 * band, column].set_axis_off()
            panels[2 * band + 1, column].set_axis_off()
        used[0][0].set_ylim(0, _highest_loss([histories[name] for name in plotted_names]))
        used[0][0].set_xlim(0.5, max(len(histories[name].train_loss) for name in plotted_names) + 0.5)
        _legend(figure, context)
        return png(figure)


def _loss(axes: Axes, name: str, history: History) -> None:
    _lines(axes, name, history.train_loss, history.held_loss, history.best_epoch)
    axes.set_ylim(0, _highest_loss([history]))


def _top1(axes: Axes, name: str, history: History) -> None:
    train, held = ([100 * value for value in values] for values in (history.train_top1, history.held_top1))
    _lines(axes, name, train, held, history.best_epoch)
    axes.set_ylim(-3, 103)


def _lines(axes: Axes, name: str, train: Sequence[float], held: Sequence[float], best_epoch: int) -> None:
    # A line of a single epoch is invisible without a marker; with many epochs, markers hide the line.
    train_marker, held_marker = ("x", ".") if len(train) <= 3 else ("", "")
    epochs = range(1, len(train) + 1)
    axes.axvline(best_epoch, color=GREY, linestyle=":", linewidth=1)
    axes.plot(epochs, train, color=COLOURS[name], linestyle="--", linewidth=1.3, alpha=0.75, marker=train_marker)
    axes.plot(epochs, held, color=COLOURS[name], linewidth=2, marker=held_marker)
    axes.plot(best_epoch, held[best_epoch - 1], color=COLOURS[name], marker="o", markersize=8, markeredgecolor="white")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    axes.set_xlim(0.5, len(train) + 0.5)
    axes.grid(alpha=0.3)


def _highest_loss(histories: Sequence[History]) -> float:
    """Upper end of a loss axis; ignores NaN and infinity of a diverged training."""
    values = np.array([value for one in histories for value in (*one.train_loss, *one.held_loss)])
    finite = values[np.isfinite(values)]
    return max(1.05 * float(finite.max()), 1e-3) if len(finite) else 1.0


def _legend(figure: Figure, context: EvaluationContext) -> None:
    handles = [
        Line2D([], [], color=GREY, linestyle="--", linewidth=1.3, label="training"),
        Line2D([], [], color=GREY, linewidth=2, label=context.epoch_chosen_on),
        Line2D([], [], color=GREY, linestyle=":", linewidth=1, marker="o", markersize=8, label="best epoch"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
