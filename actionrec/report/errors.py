"""Report sections on single classes, groups and clips: scores, misclassified clips, leaks from training to test."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from actionrec.core.text import first_few, percent
from actionrec.evaluation.analyses import ClassScore, Missed
from actionrec.evaluation.context import EvaluationContext
from actionrec.evaluation.group_scores import GroupScore, far_below
from actionrec.report import table
from actionrec.report.class_table import class_table
from actionrec.report.wording import bullets, clean, section

WORST_GROUPS = 10  # in a table
LISTED = 20  # clips in a table


def class_scores(rows: Sequence[ClassScore], model: str, context: EvaluationContext) -> str:
    """Precision, recall and F1 of each class, lowest F1 first; with many classes, those at both ends.

    Args:
        rows: at least one.
    """
    ordered = sorted(rows, key=lambda one: (one.f1, one.name))
    cells = [
        [clean(one.name), f"{one.clips:,}", *(percent(score) for score in (one.precision, one.recall, one.f1))] for one in ordered
    ]
    header = ["class", "test clips", "precision %", "recall %", "F1 %"]
    fewest = min(one.clips for one in rows)
    step = "it depends on a single clip" if fewest == 1 else f"one clip of {fewest} changes recall by {percent(1 / fewest)} points"
    return section(
        f"Scores per class of {clean(model)}",
        class_table(header, cells, "lrrrr", "[per_class.csv](per_class.csv) has all classes of all models."),
        "Lowest F1 first. Precision: share of the clips with this prediction that belong to the class. Recall: share of "
        "the class's clips that are found. F1: their harmonic mean. A score is 0 where its denominator is 0. Scores of classes "
        f"with few clips are rough: in the smallest class here, {step}.",
    )


def group_scores(rows: Sequence[GroupScore], model: str) -> str:
    """Top-1 of each source video or person, lowest first; empty with fewer than two."""
    if len(rows) < 2:
        return ""
    lowest = rows[:WORST_GROUPS]
    cells = [[clean(one.first_clip), f"{one.correct:,} of {one.clips:,}", percent(one.top1)] for one in lowest]
    return section(
        f"Accuracy by group of {clean(model)}",
        table(["first clip of the group", "correct", "top-1 %"], cells, "lrr"),
        f"{'All' if len(lowest) == len(rows) else f'The {len(lowest)} lowest of'} {len(rows):,} groups of test clips. A group is a "
        "source video or a person.",
    )


def group_finding(rows: Sequence[GroupScore]) -> str:
    """The groups that are far below the others; empty if there are none."""
    low = far_below(rows)
    if not low:
        return ""
    groups = first_few([f"{clean(one.first_clip)} ({one.correct} of {one.clips} correct)" for one in low], 3)
    clips, correct = sum(one.clips for one in rows), sum(one.correct for one in rows)
    rest = (correct - sum(one.correct for one in low)) / max(1, clips - sum(one.clips for one in low))
    return (
        f"**Far below the others**: the {'sources' if len(low) > 1 else 'source'} of {groups}; all others, {percent(rest)} %. "
        "See [details.md](details.md)."
    )


def missed(rows: Sequence[Missed], context: EvaluationContext) -> str:
    """Test clips that every model misclassifies, with the most frequent prediction."""
    title = "Clips that no model classifies correctly"
    if not rows:
        return section(title, "None: at least one model classifies each test clip correctly.")
    cells = []
    for one in rows[:LISTED]:
        answer, votes = _majority(one)
        cells.append([clean(one.clip), clean(one.label), clean(answer), f"{votes} of {len(one.answers)}"])
    agreed = sum(_majority(one)[1] == len(one.answers) > 1 for one in rows)
    unanimous = f" All models agree on {agreed:,} of them: check the labels of these first." if agreed else ""
    return section(
        title,
        table(["clip", "true class", "most frequent prediction", "models"], cells, "lllr"),
        _rest(len(rows)),
        f"{len(rows):,} of {context.distinct_test_clips:,} test clips, {percent(len(rows) / context.distinct_test_clips)} %."
        f"{unanimous} Their frames: [missed_by_all.png](../plots/missed_by_all.png).",
    )


def _majority(one: Missed) -> tuple[str, int]:
    """The most frequent prediction and its count; the first by name if several are equally frequent."""
    return min(Counter(one.answers.values()).items(), key=lambda item: (-item[1], item[0]))


def audit(record: Mapping[str, Any], context: EvaluationContext) -> str:
    """Test clips that are siblings, copies or near-duplicates of training clips.

    Args:
        record: metrics/audit.json, an `actionrec.evaluation.leak_audit.Audit`.

    Raises:
        KeyError: the record lacks an entry.
    """
    near = record["near"]
    flagged = [pair for pair in near["top"] if pair["similarity"] > near["threshold"]] if near else []
    return section(
        "Leaks from training to test",
        _audit_counts(record),
        bullets(leaks(record, context)),
        _copied(record),
        _near(flagged, near),
        _audit_limits(near, context),
    )


def _audit_counts(record: Mapping[str, Any]) -> str:
    rows = [
        ["test clips", f"{record['test_clips']:,}", ""],
        ["with a sibling in training (same source, by name)", f"{record['siblings']:,}", percent(record["sibling_share"])],
        ["with a byte-for-byte copy in training", f"{record['copied']:,}", percent(record["copied_share"])],
    ]
    near = record["near"]
    if near:
        rows.append([f"near-duplicates, similarity above {near['threshold']:.3f}", f"{near['flagged']:,}", percent(near["share"])])
        strangers = percent(near["strangers"] / near["test_clips"])
        rows.append(["of these: the nearest clip is not a sibling", f"{near['strangers']:,}", strangers])
    return table(["what", "test clips", "%"], rows, "lrr")


def leaks(record: Mapping[str, Any], context: EvaluationContext) -> list[str]:
    """What the audit found, one sentence each. It searches the fold of the saved models alone."""
    of_fold = f" of fold {context.fold}" if context.evaluated_folds > 1 else ""
    near, tested, lines = record["near"], f"{record['test_clips']:,} test clips{of_fold}", []
    if record["siblings"]:
        lines.append(
            f"**Siblings in training: {record['siblings']:,} of {tested}.** They come from the same source videos, so expect lower "
            "accuracy on new videos. `split.protocol: group` keeps siblings together."
        )
    if record["copied"]:
        lines.append(
            f"**Copies in training: {record['copied']:,} of {tested}.** They are byte-for-byte copies, so models can memorise them."
        )
    if near and near["strangers"]:
        lines.append(
            f"**Near-duplicates that are not siblings by name: {near['strangers']:,} of {tested}.** Check them: clips of one video "
            "belong in one group (`data.group`, or a clips.csv)."
        )
    kinds = "siblings, copies or near-duplicates" if near else "siblings or copies"
    return lines or [f"No {kinds} found{' in fold ' + str(context.fold) + ', the only one searched' if of_fold else ''}."]


def _copied(record: Mapping[str, Any]) -> str:
    """Identical files in several subsets."""
    sets = record["copies"]
    if not sets:
        return ""
    rows = [
        [first_few([f"{clean(clip)} ({subset})" for clip, subset in zip(same["clips"], same["subsets"], strict=True)])]
        for same in sets[:LISTED]
    ]
    return "\n\n".join(filter(None, [table(["identical files in several subsets"], rows, "l"), _rest(len(sets))]))


def _near(flagged: Sequence[Mapping[str, Any]], near: Mapping[str, Any] | None) -> str:
    """Near-duplicates; without any, the most similar pair."""
    if not near:
        return "Near-duplicates were not searched, because there are no features yet."
    if not flagged:
        if not near["top"]:
            return ""
        pair = near["top"][0]
        return f"Most similar pair: {clean(pair['test'])} and {clean(pair['train'])} in training, {pair['similarity']:.3f}."
    rows = [[clean(pair["test"]), clean(pair["train"]), f"{pair['similarity']:.3f}", _relation(pair)] for pair in flagged[:LISTED]]
    body = table(["test clip", "nearest in training", "similarity", "relation"], rows, "llrl")
    more = near["flagged"] - len(rows)
    return f"{body}\n\nAnd {more:,} more." if more > 0 else body


def _relation(pair: Mapping[str, Any]) -> str:
    return "siblings" if pair["sibling"] else "same class" if pair["same_class"] else "different classes"


def _audit_limits(near: Mapping[str, Any] | None, context: EvaluationContext) -> str:
    """What the search cannot find."""
    notes = "Siblings are found by file name, copies by content."
    if near:
        source = f"set from {near['unrelated_pairs']:,} pairs of unrelated clips" if near["unrelated_pairs"] else "a default"
        notes += (
            f" Similarity is the cosine between two clips' mean features; its threshold is {source}. Near-duplicates of different "
            "classes can mean a wrong label."
        )
        if near["recall"] is not None:
            notes += (
                f" There are too many pairs to compare each. The search found {percent(near['recall'])} % of planted copies whose "
                "similarity is the threshold."
            )
    if near and context.weights == "random":
        notes += " **The backbone is untrained**, so its similarities mean little."
    if context.clips_without_group:
        notes += (
            f" The names of {context.clips_without_group:,} clips do not tell their source video, so their siblings are unknown."
        )
    return f"{notes} The search can miss leaks."


def _rest(count: int) -> str:
    return f"And {count - LISTED:,} more." if count > LISTED else ""
