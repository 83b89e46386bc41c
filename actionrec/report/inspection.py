"""Report on a data set in Markdown, readable in a terminal too."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from actionrec.core.text import first_few, percent
from actionrec.inspection.probe import Probe
from actionrec.inspection.split_preview import SplitPreview
from actionrec.inspection.summary import Summary
from actionrec.inspection.suspicion import Suspicion
from actionrec.report import split_preview, table
from actionrec.report.class_table import class_table
from actionrec.report.wording import clean

REPORT = "report.md"
FILES = "files.csv"
PAGE = "page.png"
CLASSES = "classes.csv"
"""Written if the report does not show all classes."""
CLASSES_HEADER = ("class", "clips", "share", "groups", "median_seconds")
FILES_HEADER = (
    "clip",
    "label",
    "group",
    "bytes",
    "seconds",
    "frames",
    "frames_per_second",
    "width",
    "height",
    "codec",
    "problem",
)

# Times the smallest class. UCF-50's classes differ by a factor of 2.0 and UCF-101's by 1.7; both are trained without weights.
IMBALANCED = 3
LISTED = 20  # files in a table
EXAMPLES = 3  # files per rule
VALUES = 8  # rows of a distribution


def report(summary: Summary, preview: SplitPreview) -> str:
    """Write report.md."""
    sections = [
        _opening(summary, preview),
        _totals(summary),
        _splits(summary, preview),
        _classes(summary),
        _durations(summary),
        _values("Frame rates", "frames per second", summary.frame_rates),
        _values("Sizes", "width x height", summary.sizes),
        _values("Codecs", "codec", summary.codecs),
        _unreadable(summary),
        _suspicious(summary),
        _copies("Copies across classes", summary.copies_across_classes),
        _copies("Copies within a class", summary.copies_within_class),
        f"## Files\n\n`{FILES}` has one row per file. Plots:\n\n![Plots and one frame per class]({PAGE})",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def file_rows(probes: Iterable[Probe], suspicions: Iterable[Suspicion]) -> Iterator[list[Any]]:
    """Rows of files.csv, in the order of the probes; unknown fields are empty."""
    problems: dict[str, list[str]] = {}
    for suspicion in suspicions:
        detail = f" ({suspicion.detail})" if suspicion.detail else ""
        problems.setdefault(suspicion.clip, []).append(f"{suspicion.kind}{detail}")
    for one in probes:
        clip, header = one.clip, one.header
        row: list[Any] = [clip.id, clip.label, clip.group, clip.bytes, "" if one.seconds is None else f"{one.seconds:.3f}"]
        row += [one.frames, f"{header.frames_per_second:.3f}", header.width, header.height, header.codec] if header else [""] * 5
        yield [*row, one.error or "; ".join(problems.get(clip.id, []))]


def _names(names: Sequence[str]) -> str:
    return first_few([clean(name) for name in names], 10)


def _opening(summary: Summary, preview: SplitPreview) -> str:
    source = "Based on file headers, which can be wrong. `--decode` decodes every clip completely."
    if summary.read_through:
        source = "Every clip was decoded completely."
    notes = "\n".join(f"- {note}" for note in _notes(summary, preview)) or "None found."
    return f"# Data set {clean(summary.dataset)}\n\n{source}\n\n## Problems to check\n\n{notes}"


def _notes(summary: Summary, preview: SplitPreview) -> list[str]:
    """Problems to know before training, the worst first."""
    notes = []
    if summary.copies_across_classes:
        count = len(summary.copies_across_classes)
        notes.append(
            f"**THE SAME CLIP IN SEVERAL CLASSES, {count:,} {'time' if count == 1 else 'times'}**: the files are identical, so at "
            "least one label is wrong. Listed below."
        )
    if summary.unreadable:
        what = "decoded" if summary.read_through else "opened"
        notes.append(f"**{len(summary.unreadable):,} of {summary.clips:,} clips cannot be {what}.** Listed below.")
    if summary.suspicious:
        files = len({one.clip for one in summary.suspicious})
        notes.append(f"**{files:,} {'file is' if files == 1 else 'files are'} suspicious.** Listed below.")
    if summary.random_split_leak > 0:
        notes.append(
            f"**A random split leaks**: with {summary.folds} random folds, about {percent(summary.random_split_leak)} % of the "
            "test clips share a source with a training clip. `split.protocol: group` avoids this."
        )
    if summary.clips_without_group:
        notes.append(
            f"**The source of {summary.clips_without_group:,} of {summary.clips:,} clips is unknown**: each counts as its own "
            "source. If several come from one video, no split can keep them together, and the shares of siblings here are too low. "
            f"{split_preview.SET_GROUP}"
        )
    if summary.inseparable_classes:
        notes.append(
            f"**A group split cannot test {_names(summary.inseparable_classes)}**: all clips of "
            f"{'that class' if len(summary.inseparable_classes) == 1 else 'each of these classes'} come from one source."
        )
    if summary.group_folds < 2:
        notes.append("**No group split is possible**: the clips come from too few sources.")
    if summary.imbalance > IMBALANCED:
        largest, smallest = summary.classes[0], summary.classes[-1]
        notes.append(
            f"**The classes are imbalanced**: {clean(largest.name)} has {summary.imbalance:.1f} times as many clips as "
            f"{clean(smallest.name)} ({largest.clips:,} and {smallest.clips:,}). `train.class_weights=balanced` gives every class "
            "the same influence on training. Judge models by mean class accuracy and macro F1."
        )
    notes += split_preview.notes(preview)
    if summary.copies_within_class:
        spare = sum(len(same) - 1 for same in summary.copies_within_class)
        notes.append(f"**{spare:,} {'clip is a copy' if spare == 1 else 'clips are copies'}** of another clip of the same class.")
    return notes


def _totals(summary: Summary) -> str:
    rows = [
        ["clips", f"{summary.clips:,}"],
        ["classes", f"{len(summary.classes):,}"],
        ["groups", f"{summary.groups:,}"],
        ["clips without a group", f"{summary.clips_without_group:,}"],
        ["bytes", f"{summary.bytes:,}"],
        ["duration", _clock(summary.durations.total) if summary.durations else "unknown"],
        ["clips that cannot be read", f"{len(summary.unreadable):,}"],
        ["suspicious clips", f"{len({one.clip for one in summary.suspicious}):,}"],
        ["largest class / smallest class", f"{summary.imbalance:.1f}"],
    ]
    return f"## Totals\n\n{table(['what', 'count'], rows, 'lr')}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"


def _splits(summary: Summary, preview: SplitPreview) -> str:
    unknown = summary.clips_without_group == summary.clips
    leak = "unknown" if unknown else f"{percent(summary.random_split_leak)} %"
    rows = [
        ["random", leak, "any"],
        ["group", "unknown" if unknown else "0.0 %", f"{summary.group_folds:,}" if summary.group_folds > 1 else "none"],
    ]
    body = table(["split.protocol", "test clips with a sibling in training", "maximum folds"], rows, "lrr")
    note = f"Random: expected share with {summary.folds} folds, each tested once."
    if summary.group_folds > 1:
        of_all = summary.group_folds_of_all_classes
        which = "every class that a group split can test"
        note += (
            f" Group: with up to {of_all:,} folds, each fold tests {which}." if of_all > 1 else f" Group: no fold tests {which}."
        )
    parts = [split_preview.groups(summary, preview), f"{body}\n\n{note}", split_preview.subsets(preview)]
    return "\n\n".join(["## Splits", *filter(None, parts)])


def class_rows(summary: Summary) -> Iterator[list[Any]]:
    """Rows of classes.csv, largest class first; an unknown duration is empty."""
    for one in summary.classes:
        seconds = "" if one.median_seconds is None else f"{one.median_seconds:.3f}"
        yield [one.name, one.clips, f"{one.share:.4f}", one.groups, seconds]


def _classes(summary: Summary) -> str:
    rows = [
        [
            clean(one.name, 40),
            f"{one.clips:,}",
            percent(one.share),
            f"{one.groups:,}",
            "unknown" if one.median_seconds is None else f"{one.median_seconds:.1f}",
        ]
        for one in summary.classes
    ]
    header = ["class", "clips", "share %", "groups", "median s"]
    return f"## Classes\n\n{class_table(header, rows, 'lrrrr', f'`{CLASSES}` has all classes.')}"


def _durations(summary: Summary) -> str:
    if not summary.durations:
        return "## Durations\n\nThe duration of the clips is unknown."
    times = summary.durations
    row = [f"{value:,.1f}" for value in (times.shortest, times.low, times.median, times.high, times.longest)]
    header = ["shortest s", "5 % are shorter", "median s", "5 % are longer", "longest s"]
    return f"## Durations\n\n{table(header, [row], 'rrrrr')}"


def _values(title: str, what: str, counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    total = sum(counts.values())
    rows = [[clean(value), f"{count:,}", percent(count / total)] for value, count in list(counts.items())[:VALUES]]
    rest = list(counts.values())[VALUES:]
    if rest:
        rows.append([f"{len(rest):,} others", f"{sum(rest):,}", percent(sum(rest) / total)])
    return f"## {title}\n\n{table([what, 'clips', 'share %'], rows, 'lrr')}"


def _unreadable(summary: Summary) -> str:
    if not summary.unreadable:
        return ""
    rows = [[clean(clip), clean(why, 90)] for clip, why in list(summary.unreadable.items())[:LISTED]]
    return f"## Clips that cannot be read\n\n{table(['clip', 'reason'], rows, 'll')}{_rest(len(summary.unreadable))}"


def _suspicious(summary: Summary) -> str:
    if not summary.suspicious:
        return ""
    by_kind: dict[str, list[Suspicion]] = {}
    for one in summary.suspicious:
        by_kind.setdefault(one.kind, []).append(one)
    rows = []
    for kind, suspicions in by_kind.items():
        for place, one in enumerate(suspicions[:EXAMPLES]):
            rows.append(
                [kind if not place else "", f"{len(suspicions):,}" if not place else "", clean(one.clip), clean(one.detail)]
            )
    note = f"At most {EXAMPLES} clips per problem; `{FILES}` lists all of them."
    return f"## Suspicious clips\n\n{table(['problem', 'clips', 'examples', 'details'], rows, 'lrll')}\n\n{note}"


def _copies(title: str, sets: Sequence[Sequence[str]]) -> str:
    if not sets:
        return ""
    lines = "\n".join(f"- {_names(same)}" for same in sets[:LISTED])
    return f"## {title}\n\n{lines}{_rest(len(sets))}"


def _rest(count: int) -> str:
    return f"\n\nAnd {count - LISTED:,} more." if count > LISTED else ""
