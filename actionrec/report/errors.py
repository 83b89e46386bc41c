"""Sections of the report on single classes and clips: where models fail, and which test clips training gives away."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from actionrec.core.errors import first_few
from actionrec.evaluation.analyses import ClassScore, Missed
from actionrec.evaluation.context import EvaluationContext
from actionrec.report import percent, table
from actionrec.report.wording import bullets, clean, protocol, saved_run, section

ALL_CLASSES = 20  # up to so many are all in the table ...
WORST_CLASSES = 10  # ... of more, these
LISTED = 20  # clips in a table


def class_scores(rows: Sequence[ClassScore], model: str, context: EvaluationContext) -> str:
    """Precision, recall and F1 of each class, the lowest F1 first; of many classes only the worst.

    Args:
        rows: at least one.
    """
    ordered = sorted(rows, key=lambda one: (one.f1, one.name))
    shown = ordered if len(rows) <= ALL_CLASSES else ordered[:WORST_CLASSES]
    cells = [
        [clean(one.name), f"{one.clips:,}", *(percent(score) for score in (one.precision, one.recall, one.f1))] for one in shown
    ]
    rest = (
        ""
        if len(shown) == len(rows)
        else f"The {len(shown)} lowest of {len(rows)}; all, of every model: [per_class.csv](per_class.csv). "
    )
    fewest = min(one.clips for one in shown)
    step = (
        "a single clip decides"
        if fewest == 1
        else f"one of {fewest} clips more or less moves recall by {percent(1 / fewest)} points"
    )
    return section(
        f"Classes, by {clean(model)}",
        protocol(context),
        table(["class", "test clips", "precision %", "recall %", "F1 %"], cells, "lrrrr"),
        f"{rest}Lowest F1 first. Precision: of the clips that get this answer, the share that is right. Recall: of the class's "
        "clips, the share that is found. F1: their harmonic mean. 0 where there is nothing to divide by. Of a class with few clips "
        f"these are rough: in the smallest here, {step}.",
        saved_run(context),
    )


def missed(rows: Sequence[Missed], context: EvaluationContext) -> str:
    """Test clips that every model gets wrong, by name, with the answer that most models give."""
    title = "Clips that no model gets right"
    if not rows:
        return section(title, "None: each test clip is right in at least one model.")
    cells = []
    for one in rows[:LISTED]:
        answer, votes = _majority(one)
        cells.append([clean(one.clip), clean(one.label), clean(answer), f"{votes} of {len(one.answers)}"])
    agreed = sum(_majority(one)[1] == len(one.answers) > 1 for one in rows)
    unanimous = f" In {agreed:,} of these all models give the same answer: look there first for a wrong label." if agreed else ""
    return section(
        title,
        protocol(context),
        table(["clip", "true class", "taken for, by most", "models"], cells, "lllr"),
        _rest(len(rows)),
        f"{len(rows):,} of {context.test_clips:,} test clips, {percent(len(rows) / context.test_clips)} %.{unanimous} Frames of "
        "them: [missed_by_all.png](../plots/missed_by_all.png).",
        saved_run(context),
    )


def _majority(one: Missed) -> tuple[str, int]:
    """The most frequent answer and how often it is given; of equals the first by name."""
    return min(Counter(one.answers.values()).items(), key=lambda item: (-item[1], item[0]))


def audit(record: Mapping[str, Any], context: EvaluationContext) -> str:
    """What training gives away about the test clips.

    Args:
        record: metrics/audit.json, an `actionrec.evaluation.leak_audit.Audit`.

    Raises:
        KeyError: the record lacks an entry.
    """
    near = record["near"]
    flagged = [pair for pair in near["top"] if pair["similarity"] > near["threshold"]] if near else []
    return section(
        "Does training give test clips away",
        protocol(context),
        _audit_counts(record),
        bullets(_audit_verdicts(record)),
        _copied(record),
        _near(flagged, near),
        _audit_limits(near, context),
    )


def _audit_counts(record: Mapping[str, Any]) -> str:
    rows = [
        ["test clips", f"{record['test_clips']:,}", ""],
        ["with a sibling in training, by name", f"{record['siblings']:,}", percent(record["sibling_share"])],
        ["with a copy in training, byte for byte", f"{record['copied']:,}", percent(record["copied_share"])],
    ]
    near = record["near"]
    if near:
        rows.append([f"near-duplicates, similarity above {near['threshold']:.3f}", f"{near['flagged']:,}", percent(near["share"])])
        strangers = percent(near["strangers"] / near["test_clips"])
        rows.append(["of these: nearest to a clip that is no sibling", f"{near['strangers']:,}", strangers])
    return table(["what", "test clips", "%"], rows, "lrr")


def _audit_verdicts(record: Mapping[str, Any]) -> list[str]:
    near, tested, lines = record["near"], f"{record['test_clips']:,} test clips", []
    if record["siblings"]:
        lines.append(
            f"**Siblings in training: {record['siblings']:,} of {tested}.** They were cut from the same source video; expect lower "
            "accuracy on new videos. `split.protocol: group` keeps siblings together."
        )
    if record["copied"]:
        lines.append(
            f"**Copies in training: {record['copied']:,} of {tested}.** Byte for byte: their answers can be known by heart."
        )
    if near and near["strangers"]:
        lines.append(
            f"**Near-duplicates that are no siblings by name: {near['strangers']:,} of {tested}.** Look at them: clips of one "
            "video belong in one group (`data.group`, or a clips.csv)."
        )
    searched = "no sibling, no copy, no near-duplicate" if near else "no sibling, no copy"
    return lines or [f"Nothing found: {searched}."]


def _copied(record: Mapping[str, Any]) -> str:
    """Sets of the same bytes that lie in several subsets."""
    sets = record["copies"]
    if not sets:
        return ""
    rows = [
        [first_few([f"{clean(clip)} ({subset})" for clip, subset in zip(same["clips"], same["subsets"], strict=True)])]
        for same in sets[:LISTED]
    ]
    return "\n\n".join(filter(None, [table(["the same bytes in several subsets"], rows, "l"), _rest(len(sets))]))


def _near(flagged: Sequence[Mapping[str, Any]], near: Mapping[str, Any] | None) -> str:
    """Near-duplicates, or else the most similar pair."""
    if not near:
        return "Near-duplicates were not looked for: there were no features."
    if not flagged:
        if not near["top"]:
            return ""
        pair = near["top"][0]
        return f"The most similar pair: {clean(pair['test'])} and {clean(pair['train'])} in training, {pair['similarity']:.3f}."
    rows = [[clean(pair["test"]), clean(pair["train"]), f"{pair['similarity']:.3f}", _relation(pair)] for pair in flagged[:LISTED]]
    body = table(["test clip", "nearest in training", "similarity", "the two are"], rows, "llrl")
    more = near["flagged"] - len(rows)
    return f"{body}\n\nAnd {more:,} more." if more > 0 else body


def _relation(pair: Mapping[str, Any]) -> str:
    return "siblings" if pair["sibling"] else "of one class" if pair["same_class"] else "of two classes"


def _audit_limits(near: Mapping[str, Any] | None, context: EvaluationContext) -> str:
    """What the search cannot see."""
    notes = "Names tell siblings, bytes tell copies."
    if near:
        derived = f"from {near['unrelated_pairs']:,} pairs of unrelated clips" if near["unrelated_pairs"] else "a default"
        notes += (
            f" Similarity is the cosine of two clips' mean features; its threshold is {derived}. Near-duplicates of two classes "
            "are a hint at a wrong label."
        )
    if near and context.weights == "random":
        notes += " **The backbone is untrained**, so its similarities say little."
    if context.clips_without_group:
        notes += f" The names of {context.clips_without_group:,} clips tell no source, so their siblings are unknown."
    return f"{notes} That nothing is found does not prove that there is nothing."


def _rest(count: int) -> str:
    return f"And {count - LISTED:,} more." if count > LISTED else ""
