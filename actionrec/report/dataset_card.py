"""Data set card: what the clips are, how they were split, which could not be decoded, and whether the split leaks.

The format is Hugging Face's, as for model cards: YAML between two `---` lines, then Markdown from templates/dataset_card.md.j2.
There are no dates, so the same run writes the same bytes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from actionrec.data.clips import Clip, class_names
from actionrec.data.datasets import hmdb51, ucf50, ucf101
from actionrec.data.published import Published
from actionrec.data.splits import SUBSETS
from actionrec.evaluation.context import EvaluationContext
from actionrec.report import errors, table
from actionrec.report.card import RIGHTS, UNKNOWN_RIGHTS, relocated
from actionrec.report.class_table import class_table
from actionrec.report.rendering import front_matter, render
from actionrec.report.wording import clean

PUBLISHED: dict[str, Published] = {"ucf50": ucf50.SOURCE, "ucf101": ucf101.SOURCE, "hmdb51": hmdb51.SOURCE}
LICENCES = {"sample": "mit", "ucf50": "unknown", "ucf101": "unknown", "hmdb51": "cc-by-4.0"}
"""Identifiers of RIGHTS in the front matter."""

SUBSET_NAMES = {"train": "training", "val": "validation", "test": "test"}
LISTED = 20  # clips in a table
CLASSES = "classes.csv"
"""Beside the card, if its table of classes is cut."""
CLASSES_HEADER = ("class", "clips", "groups", *SUBSETS)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class DatasetRecords:
    """Everything that the card is written from."""

    context: EvaluationContext
    validation: float
    """`split.validation`."""
    clips: Sequence[Clip]
    """data/clips.csv."""
    subset_of: Mapping[str, str]
    """data/split.csv: clip -> subset. Clips that an official list leaves out are missing."""
    ledger: Sequence[Mapping[str, str]]
    """data/frames/ledger.csv, a row per clip."""
    frames: Mapping[str, Any]
    """data/frames/frames.json: how frames were sampled."""
    audit: Mapping[str, Any]
    """metrics/audit.json."""

    def members(self, subset: str) -> list[Clip]:
        return [clip for clip in self.clips if self.subset_of.get(clip.id) == subset]

    @property
    def is_grouped(self) -> bool:
        """Whether any clip's name, or a list of clips, says which group it belongs to."""
        return any(clip.group != clip.id for clip in self.clips)


def dataset_card(records: DatasetRecords) -> str:
    """Write the card.

    Raises:
        KeyError: a record lacks an entry.
    """
    context = records.context
    failed = [row for row in records.ledger if row["error"]]
    damaged = [row for row in records.ledger if row["warning"]]
    body = render(
        "dataset_card.md.j2",
        context=context,
        classes=class_names(records.clips),
        megabytes=sum(clip.bytes for clip in records.clips) / 1e6,
        groups=len({clip.group for clip in records.clips}),
        is_grouped=records.is_grouped,
        source=PUBLISHED.get(context.dataset),
        rights=RIGHTS.get(context.dataset, UNKNOWN_RIGHTS),
        classes_table=_classes_table(records),
        subsets_table=_subsets_table(records),
        unused=len(records.clips) - len(records.subset_of),
        validation=records.validation,
        frames=records.frames,
        lengths_table=_lengths_table(records),
        failed_count=len(failed),
        failed_table=_clips_table(failed, "error"),
        damaged_count=len(damaged),
        damaged_table=_clips_table(damaged, "warning"),
        listed_clips=LISTED,
        audit=errors.audit(records.audit, context),
    )
    return f"---\n{front_matter(_metadata(records))}---\n\n{relocated(body)}"


def _metadata(records: DatasetRecords) -> dict[str, Any]:
    """The YAML part, see https://huggingface.co/docs/hub/datasets-cards."""
    dataset = records.context.dataset
    names = {"train": "train", "val": "validation", "test": "test"}
    members = {name: records.members(subset) for subset, name in names.items()}
    return {
        "pretty_name": PUBLISHED[dataset].title if dataset in PUBLISHED else dataset,
        "license": LICENCES.get(dataset, "unknown"),
        "task_categories": ["video-classification"],
        "tags": ["action-recognition"],
        "size_categories": [next((name for limit, name in _SIZES if len(records.clips) < limit), "n>1M")],
        "dataset_info": {
            "features": [
                {"name": "video", "dtype": "video"},
                {"name": "label", "dtype": {"class_label": {"names": _numbered(class_names(records.clips))}}},
            ],
            "splits": [
                {"name": name, "num_bytes": sum(clip.bytes for clip in clips), "num_examples": len(clips)}
                for name, clips in members.items()
                if clips
            ],
        },
    }


def _numbered(names: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


def class_rows(records: DatasetRecords) -> list[tuple[str, int, int | None, int, int, int]]:
    """Rows under CLASSES_HEADER; no number of groups if none is known."""
    of_class: dict[str, list[Clip]] = {name: [] for name in class_names(records.clips)}
    for clip in records.clips:
        of_class[clip.label].append(clip)
    is_grouped, rows = records.is_grouped, []
    for name, clips in of_class.items():
        counts = Counter(records.subset_of.get(clip.id) for clip in clips)
        groups = len({clip.group for clip in clips}) if is_grouped else None
        rows.append((name, len(clips), groups, counts["train"], counts["val"], counts["test"]))
    return rows


def _classes_table(records: DatasetRecords) -> str:
    cells = [
        [clean(name), *("unknown" if number is None else f"{number:,}" for number in numbers)]
        for name, *numbers in class_rows(records)
    ]
    header = ["class", "clips", "groups", *SUBSET_NAMES.values()]
    return class_table(header, cells, "lrrrrr", f"[{CLASSES}](cards/{CLASSES}) has all classes.")


def _subsets_table(records: DatasetRecords) -> str:
    failed = {row["clip"] for row in records.ledger if row["error"]}
    rows = []
    for subset, name in SUBSET_NAMES.items():
        members = records.members(subset)
        sources, classes = len({clip.cluster for clip in members}), len({clip.label for clip in members})
        lost = sum(clip.id in failed for clip in members)
        rows.append([name, f"{len(members):,}", f"{sources:,}", f"{classes:,}", f"{lost:,}"])
    return table(["subset", "clips", "sources", "classes", "could not be decoded"], rows, "lrrrr")


def _lengths_table(records: DatasetRecords) -> str:
    counts = sorted(int(row["decoded_frames"]) for row in records.ledger if not row["error"])
    if not counts:
        return ""
    row = [f"{counts[0]:,}", f"{median(counts):,.0f}", f"{counts[-1]:,}", f"{sum(counts):,}"]
    return table(["shortest, frames", "median, frames", "longest, frames", "all clips, frames"], [row], "rrrr")


def _clips_table(rows: Sequence[Mapping[str, str]], reason: str) -> str:
    cells = [[clean(row["clip"]), clean(row[reason], 120)] for row in rows[:LISTED]]
    return table(["clip", "reason"], cells, "ll") if cells else ""
