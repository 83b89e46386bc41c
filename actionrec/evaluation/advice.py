"""Advice: which model to deploy, which to avoid, and what would settle the choice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    """Ranked first."""
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
        """Whether even the best model is not shown to have learned anything."""
        return self.best in self.avoid


def advise(rows: Sequence[LeaderboardRow], pairs: Sequence[Pair], margin: float, sources: int) -> Advice:
    """Decide which model to deploy. The one place where this is decided.

    - Avoid: not significantly better than the majority class (`LeaderboardRow.beats_majority`); or another model is significantly
      more accurate and needs no more operations.
    - Deploy the cheapest model (fewest operations) whose loss against the best one is shown to be below the margin: the upper end
      of its interval is. The interval is simultaneous over all pairs, so this also holds for the best of many models. If there is
      no such model, deploy the best one: a difference that is not shown is not a difference that is shown to be small.

    Args:
        rows: in order of rank.
        pairs: of all models.
        margin: `compare.margin`.
        sources: source videos of the test clips.
    """
    by_name = {row.name: row for row in rows}
    avoid = _to_avoid(rows, pairs)
    best = rows[0]
    cheaper = [
        pair
        for pair in sorted(pairs, key=lambda pair: (by_name[pair.b].flops, by_name[pair.b].rank))
        if pair.a == best.name and by_name[pair.b].flops < best.flops and pair.b not in avoid
    ]
    close = next((pair for pair in cheaper if pair.test.interval.high < margin), None)
    deploy = close.b if close else best.name
    usable = [row for row in rows if row.name not in avoid] or list(rows)
    still = [pair for pair in cheaper if by_name[pair.b].flops < by_name[deploy].flops and pair.test.difference < margin]
    return Advice(
        deploy=deploy,
        best=best.name,
        margin=margin,
        loss=close.test.difference if close else 0.0,
        most=close.test.interval.high if close else 0.0,
        alternative=_alternative(still[0], margin, sources) if still else None,
        smallest=min(usable, key=lambda row: (row.parameters, row.rank)).name,
        avoid=avoid,
    )


def _to_avoid(rows: Sequence[LeaderboardRow], pairs: Sequence[Pair]) -> dict[str, str]:
    by_name = {row.name: row for row in rows}
    avoid = {}
    for row in rows:
        better = [pair.a for pair in pairs if pair.b == row.name and pair.apart]
        no_dearer = [name for name in better if by_name[name].flops <= row.flops]
        if not row.beats_majority:
            avoid[row.name] = "not shown to be better than always answering the most frequent class"
        elif no_dearer:
            avoid[row.name] = f"{no_dearer[0]} is significantly more accurate and not slower"
    return avoid


def _alternative(pair: Pair, margin: float, sources: int) -> Alternative:
    loss, most = pair.test.difference, pair.test.interval.high
    needed = sources * ((most - loss) / (margin - loss)) ** 2  # intervals shrink with the square root of the number of sources
    return Alternative(pair.b, loss, most, int(np.ceil(needed)))
