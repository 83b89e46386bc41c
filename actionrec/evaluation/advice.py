"""Advice: which model to deploy, which to avoid, and what would settle the choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actionrec.evaluation.clip_cost import cheaper
from actionrec.evaluation.leaderboard import LeaderboardRow, Pair


@dataclass(frozen=True)
class Alternative:
    """The cheapest model that could still be within the margin of the best one."""

    name: str
    loss: float
    """Measured top-1 of the best model minus its own."""
    most: float
    """Upper end of the loss's interval; at or above the margin, so the model is not advised."""
    sources: int
    """About how many test source videos would bring `most` below the margin, if the measured loss is the true one."""


@dataclass(frozen=True)
class Advice:
    """Which model to deploy, and why."""

    deploy: str
    best: str
    """The first in order of rank that is not to be avoided; if all are, the first."""
    margin: float
    """`compare.margin`: the loss of top-1 that a cheaper model may have."""
    loss: float
    """Measured top-1 of the best model minus that of `deploy`."""
    most: float
    """Upper end of that loss's 95 % interval; 0 if the best model is deployed."""
    alternative: Alternative | None
    smallest: str
    """The fewest parameters among the models that are not to be avoided."""
    avoid: dict[str, str]
    """Model -> reason."""

    @property
    def none_recommended(self) -> bool:
        """Whether all models are to be avoided: none is shown to have learned anything."""
        return self.best in self.avoid


def advise(rows: Sequence[LeaderboardRow], pairs: Sequence[Pair], margin: float, sources: int) -> Advice:
    """Decide which model to deploy. The one place where this is decided.

    Costs are operations with the backbone. They differ only if `cheaper` says so.

    - Avoid: not significantly better than the majority class (`LeaderboardRow.beats_majority`); or another model is significantly
      more accurate and costs no more.
    - The best is the first in order of rank among the others.
    - Deploy the cheapest model whose loss against the best one is shown to be below the margin: the upper end of its interval is.
      The interval is simultaneous over all pairs, so this also holds for the best of many models. If there is no such model,
      deploy the best one: a difference that is not shown is not a difference that is shown to be small.

    Args:
        rows: in order of rank.
        pairs: of all models.
        margin: `compare.margin`.
        sources: source videos of the test clips.
    """
    flops = {row.name: row.total_flops for row in rows}
    avoid = _to_avoid(rows, pairs)
    usable = [row for row in rows if row.name not in avoid] or list(rows)
    best = usable[0]
    candidates = [pair for pair in pairs if pair.a == best.name and pair.b not in avoid and cheaper(flops[pair.b], flops[pair.a])]
    close = _cheapest([pair for pair in candidates if pair.test.interval.high < margin], flops)
    deploy = close.b if close else best.name
    still = [pair for pair in candidates if cheaper(flops[pair.b], flops[deploy]) and pair.test.difference < margin]
    open_question = _cheapest(still, flops)
    return Advice(
        deploy=deploy,
        best=best.name,
        margin=margin,
        loss=close.test.difference if close else 0.0,
        most=close.test.interval.high if close else 0.0,
        alternative=_alternative(open_question, margin, sources) if open_question else None,
        smallest=min(usable, key=lambda row: (row.parameters, row.rank)).name,
        avoid=avoid,
    )


def _cheapest(against_best: Sequence[Pair], flops: Mapping[str, int]) -> Pair | None:
    """The pair whose `b` is the first in order of rank among the cheapest."""
    least = min((flops[pair.b] for pair in against_best), default=0)
    return next((pair for pair in against_best if not cheaper(least, flops[pair.b])), None)


def _to_avoid(rows: Sequence[LeaderboardRow], pairs: Sequence[Pair]) -> dict[str, str]:
    by_name = {row.name: row for row in rows}
    avoid = {}
    for row in rows:
        better = [pair.a for pair in pairs if pair.b == row.name and pair.apart]
        no_dearer = [name for name in better if not cheaper(row.total_flops, by_name[name].total_flops)]
        if not row.beats_majority:
            avoid[row.name] = "not shown to be better than always answering the most frequent class"
        elif no_dearer:
            avoid[row.name] = f"{no_dearer[0]} is significantly more accurate and costs no more"
    return avoid


def _alternative(pair: Pair, margin: float, sources: int) -> Alternative:
    loss, most = pair.test.difference, pair.test.interval.high
    needed = sources * ((most - loss) / (margin - loss)) ** 2  # intervals shrink with the square root of the number of sources
    return Alternative(pair.b, loss, most, int(np.ceil(needed)))
