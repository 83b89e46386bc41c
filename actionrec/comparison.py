"""Compare trained models on the same test clips: ranking, intervals, paired tests, and the advice that follows from them.

Nothing here depends on timings, which change from run to run. n clips, K classes; accuracies are fractions from 0 to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actionrec import metrics
from actionrec.errors import DataError
from actionrec.statistics import SIGNIFICANCE, Interval, better_than, holm, mcnemar, wilson

REMAKE = "Run `dvc repro` to train them again on the same data."
# How far an accuracy may lie from the one computed here: nothing but the rounding of a printed number.
SAME_ACCURACY = 1e-6


@dataclass(frozen=True)
class TrainedModel:
    """What a train stage left behind. The arrays hold validation and test clips, sorted by clip."""

    name: str
    clips: NDArray[np.str_]  # (n,)
    labels: NDArray[np.int64]  # (n,) from 0 to K - 1
    subsets: NDArray[np.str_]  # (n,) "val" or "test"
    logits: NDArray[np.float32]  # (n, K)
    class_names: tuple[str, ...]
    features: Mapping[str, Any]  # what the features were made with: backbone, weights, weights_sha256, ...
    frames: Mapping[str, Any]  # how frames were sampled
    test_top1: float  # as the train stage computed it
    best_epoch: int  # from 1
    epochs: int
    parameters: int
    train_clips: int

    def of(self, subset: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits and labels of one subset."""
        chosen = self.subsets == subset
        return self.logits[chosen], self.labels[chosen]


@dataclass(frozen=True)
class Setting:
    """What the numbers hold for; it goes with every table and picture."""

    dataset: str
    protocol: str
    folds: int
    fold: int
    seed: int
    class_names: tuple[str, ...]
    train_clips: int
    val_clips: int  # with 0, the epoch was chosen on the test clips
    test_clips: int
    sibling_share: float  # of test clips that have a clip from the same source video in training
    clips_without_group: int  # whose names tell no source video; each is taken for a source of its own
    duplicated_clips: int
    classes_without_test_clips: tuple[str, ...]
    clips: int  # in the data set
    padded: int  # clips with fewer frames than were wanted
    failed: int  # clips that could not be decoded
    backbone: str
    weights: str
    frames: int  # a clip

    @classmethod
    def of(cls, model: TrainedModel, split: Mapping[str, Any], extraction: Mapping[str, Any]) -> Self:
        """Gather the setting from what the stages recorded.

        Args:
            model: any of the compared models; they share classes, clips, features and frames.
            split: metrics/split.json.
            extraction: metrics/extract_frames.json.

        Raises:
            KeyError: a record lacks an entry.
        """
        return cls(
            dataset=split["dataset"],
            protocol=split["protocol"],
            folds=split["folds"],
            fold=split["fold"],
            seed=split["seed"],
            class_names=model.class_names,
            # Not from the split: a clip that could not be decoded is in the split but in no result.
            train_clips=model.train_clips,
            val_clips=int((model.subsets == "val").sum()),
            test_clips=int((model.subsets == "test").sum()),
            sibling_share=split["test_clips_with_sibling_in_training"],
            clips_without_group=split["clips_without_group"],
            duplicated_clips=split["duplicated_clips"],
            classes_without_test_clips=tuple(split["classes_without_test_clips"]),
            clips=extraction["clips"],
            padded=extraction["padded"],
            failed=extraction["failed"],
            backbone=model.features["backbone"],
            weights=model.features["weights"],
            frames=model.frames["count"],
        )

    @property
    def epoch_chosen_on(self) -> str:
        return "validation" if self.val_clips else "test"

    @property
    def top5_is_trivial(self) -> bool:
        """Whether there are so few classes that any answer is among the top five."""
        return len(self.class_names) <= 5

    @property
    def phrase(self) -> str:
        """The protocol in one line, for captions and titles."""
        official = self.protocol == "official"
        which = f"official split {self.fold}" if official else f"{self.protocol} split, fold {self.fold} of {self.folds}"
        parts = [self.dataset, which, f"{self.test_clips:,} test clips"]
        if not self.val_clips:
            parts.append("epoch chosen on the test clips")
        if self.weights == "random":
            parts.append("UNTRAINED backbone")
        return ", ".join(parts)


@dataclass(frozen=True)
class Standing:
    """One model's place."""

    name: str
    rank: int  # from 1, by test top-1, then mean-class, then fewer parameters
    top1: float
    interval: Interval  # of top-1
    top5: float
    mean_class: float
    val_top1: float | None
    parameters: int
    best_epoch: int
    epochs: int
    p_guessing: float  # Holm-corrected, one-sided: is it better than always answering the most frequent class?

    @property
    def efficiency(self) -> float:
        """Top-1 in percent for each million of parameters: the study's efficiency score."""
        return 100 * self.top1 / (self.parameters / 1e6)

    @property
    def beats_guessing(self) -> bool:
        return self.p_guessing < SIGNIFICANCE


@dataclass(frozen=True)
class Pair:
    """Two models on the same test clips; `a` ranks before `b`."""

    a: str
    b: str
    difference: float  # top-1 of a less top-1 of b
    only_a_right: int
    only_b_right: int
    p: float  # exact McNemar, two-sided
    p_holm: float  # the same, corrected for all pairs of models

    @property
    def apart(self) -> bool:
        return self.p_holm < SIGNIFICANCE

    @property
    def verdict(self) -> str:
        return f"{self.a} is better" if self.apart else "tie"


@dataclass(frozen=True)
class Advice:
    """Which model to take, and which not. The rules are in `advise`."""

    most_accurate: str
    tied: tuple[str, ...]  # the others that the test cannot tell from it
    cheapest_tied: str
    smallest: str
    balanced: str
    avoid: dict[str, str]  # model -> why


@dataclass(frozen=True)
class Comparison:
    """Models in order of rank, every pair of them, and the advice."""

    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]
    guessing: float  # share of the most frequent class among the test clips
    advice: Advice

    def standing(self, name: str) -> Standing:
        return next(standing for standing in self.standings if standing.name == name)

    def pair(self, one: str, other: str) -> Pair:
        return next(pair for pair in self.pairs if {pair.a, pair.b} == {one, other})

    def against_first(self, name: str) -> Pair | None:
        """The test of a model against the first in rank; none for the first itself."""
        first = self.standings[0].name
        return None if name == first else self.pair(first, name)


def check_comparable(models: Sequence[TrainedModel]) -> None:
    """Make sure that all models answered for the same clips, with the same classes, from the same features.

    Raises:
        DataError: they did not, there is no test clip, or a model's metrics and predictions are not from one run.
    """
    first = models[0]
    for model in models:
        if model.class_names != first.class_names:
            got, wanted = len(model.class_names), len(first.class_names)
            strange = sorted(set(model.class_names) ^ set(first.class_names))
            which = ", ".join(strange[:5]) if strange else "the same names in another order"
            raise DataError(
                f"{model.name} and {first.name} know different classes ({got} and {wanted}; not in both: {which}). {REMAKE}"
            )
        for what, ours, theirs in (("features", model.features, first.features), ("frames", model.frames, first.frames)):
            keys = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
            if keys:
                listed = "; ".join(f"{key}: {ours.get(key)} and {theirs.get(key)}" for key in keys)
                raise DataError(f"{model.name} and {first.name} were trained on different {what} ({listed}). {REMAKE}")
        if not np.array_equal(model.clips, first.clips) or not np.array_equal(model.subsets, first.subsets):
            got, wanted = len(model.clips), len(first.clips)
            apart = _clips_and_subsets(model) ^ _clips_and_subsets(first)
            which = ", ".join(sorted(apart)[:3]) or "the same clips in another order"
            raise DataError(
                f"{model.name} and {first.name} have predictions for different clips ({got} and {wanted}; "
                f"not in both: {which}). {REMAKE}"
            )
        if not np.array_equal(model.labels, first.labels):
            where = int(np.flatnonzero(model.labels != first.labels)[0])
            raise DataError(
                f"{model.name} and {first.name} disagree about the true class of {model.clips[where]} "
                f"({model.labels[where]} and {first.labels[where]}). {REMAKE}"
            )
        logits, labels = model.of("test")
        if not len(labels):
            raise DataError(f"{model.name} has no predictions for test clips: nothing to compare. Look at metrics/split.json.")
        top1 = metrics.top_k(logits, labels, 1)
        if not abs(top1 - model.test_top1) <= SAME_ACCURACY:
            raise DataError(
                f"{model.name}: metrics.json says test_top1 = {model.test_top1:.6f}, but its predictions give {top1:.6f}; "
                f"they are not from one run. Run `dvc repro -f train@{model.name}`."
            )


def _clips_and_subsets(model: TrainedModel) -> set[str]:
    return {f"{clip} ({subset})" for clip, subset in zip(model.clips, model.subsets, strict=True)}


def compare(models: Sequence[TrainedModel]) -> Comparison:
    """Rank models and test every pair of them on the test clips.

    Raises:
        DataError: see `check_comparable`.
    """
    check_comparable(models)
    labels = models[0].of("test")[1]
    right = {model.name: metrics.hits(*model.of("test"), 1) for model in models}
    guessing = float(np.bincount(labels).max() / len(labels))
    # With a single class among the test clips, answering it is always right, and nothing can be better.
    p_guessing = holm([better_than(int(right[model.name].sum()), len(labels), guessing) for model in models])

    measured = [_standing(model, int(right[model.name].sum()), p) for model, p in zip(models, p_guessing, strict=True)]
    order = sorted(measured, key=lambda one: (-one["top1"], -one["mean_class"], one["parameters"], one["name"]))
    standings = tuple(Standing(rank=place, **one) for place, one in enumerate(order, start=1))

    tests = [(a, b, mcnemar(right[a.name], right[b.name])) for a, b in combinations(standings, 2)]
    pairs = tuple(
        Pair(a.name, b.name, a.top1 - b.top1, test.only_first, test.only_second, test.p, p_holm)
        for (a, b, test), p_holm in zip(tests, holm([test.p for *_, test in tests]), strict=True)
    )
    return Comparison(standings, pairs, guessing, advise(standings, pairs))


def _standing(model: TrainedModel, right: int, p_guessing: float) -> dict[str, Any]:
    """A standing's fields but for its rank."""
    logits, labels = model.of("test")
    val_logits, val_labels = model.of("val")
    return {
        "name": model.name,
        "top1": right / len(labels),
        "interval": wilson(right, len(labels)),
        "top5": metrics.top_k(logits, labels, 5),
        "mean_class": metrics.mean_class(logits, labels),
        "val_top1": metrics.top_k(val_logits, val_labels, 1) if len(val_labels) else None,
        "parameters": model.parameters,
        "best_epoch": model.best_epoch,
        "epochs": model.epochs,
        "p_guessing": p_guessing,
    }


def advise(standings: Sequence[Standing], pairs: Sequence[Pair]) -> Advice:
    """Derive the deployment advice.

    - avoid: not shown to be better than always answering the most frequent class; or another model is significantly more
      accurate (McNemar, Holm) and no larger.
    - most accurate: the first in rank; tied with it are the models that the test cannot tell from it. The cheapest of them all
      has the fewest parameters.
    - smallest: the fewest parameters.
    - balanced: the highest efficiency among the first and those tied with it.

    Cheapest, smallest and balanced pass over models to avoid, unless all are.
    """
    by_name = {standing.name: standing for standing in standings}
    avoid: dict[str, str] = {}
    for standing in standings:
        ahead = [pair.a for pair in pairs if pair.b == standing.name and pair.apart]
        no_larger = [name for name in ahead if by_name[name].parameters <= standing.parameters]
        if not standing.beats_guessing:
            avoid[standing.name] = "not shown to be better than always answering the most frequent class"
        elif no_larger:
            avoid[standing.name] = f"{no_larger[0]} is significantly more accurate and no larger"

    first = standings[0]
    tied = [pair.b for pair in pairs if pair.a == first.name and not pair.apart]
    usable = [standing for standing in standings if standing.name not in avoid] or list(standings)
    # The first is usable whenever any model is: nothing ranks before it, and whoever beats guessing has no more right answers.
    leaders = [standing for standing in usable if standing.name == first.name or standing.name in tied]
    return Advice(
        most_accurate=first.name,
        tied=tuple(tied),
        cheapest_tied=min(leaders, key=lambda one: one.parameters).name,
        smallest=min(usable, key=lambda one: one.parameters).name,
        balanced=max(leaders, key=lambda one: one.efficiency).name,
        avoid=avoid,
    )


def chosen_by_validation(comparison: Comparison) -> tuple[str, ...]:
    """The models with the highest validation top-1, in order of rank; none without a validation set."""
    known = [standing.val_top1 for standing in comparison.standings if standing.val_top1 is not None]
    return tuple(standing.name for standing in comparison.standings if known and standing.val_top1 == max(known))


def summary(comparison: Comparison, setting: Setting, order: Sequence[str]) -> dict[str, Any]:
    """The content of compare.json: the same bytes on every run, models in the fixed `order`.

    `dvc metrics show` prints every number of a mapping in a column and leaves lists out; so the pairs are a list, and each
    model carries the one test that matters most, against the first.
    """
    advice = comparison.advice
    return {
        "best": advice.most_accurate,
        "dataset": setting.dataset,
        "protocol": setting.protocol,
        "fold": setting.fold,
        "folds": setting.folds,
        "seed": setting.seed,
        "epoch_chosen_on": setting.epoch_chosen_on,
        "backbone": setting.backbone,
        "weights": setting.weights,
        "classes": len(setting.class_names),
        "test_clips": setting.test_clips,
        "most_frequent_class": comparison.guessing,
        "advice": {
            "most_accurate": advice.most_accurate,
            "cheapest_tied": advice.cheapest_tied,
            "smallest": advice.smallest,
            "balanced": advice.balanced,
            "avoid": advice.avoid,
        },
        "models": {name: _model_summary(comparison, name) for name in order},
        "pairs": [{**asdict(pair), "verdict": pair.verdict} for pair in comparison.pairs],
    }


def _model_summary(comparison: Comparison, name: str) -> dict[str, Any]:
    standing = comparison.standing(name)
    test = comparison.against_first(name)
    return {
        "rank": standing.rank,
        "top1": standing.top1,
        "top1_low": standing.interval.low,
        "top1_high": standing.interval.high,
        "top5": standing.top5,
        "mean_class": standing.mean_class,
        **({} if standing.val_top1 is None else {"val_top1": standing.val_top1}),
        "best_epoch": standing.best_epoch,
        "parameters": standing.parameters,
        "efficiency": standing.efficiency,
        "p_guessing": standing.p_guessing,
        "p_against_best": 1.0 if test is None else test.p_holm,
        "tied_with_best": test is None or not test.apart,
    }
