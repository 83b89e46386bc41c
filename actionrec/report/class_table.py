"""A table with a row per class; of many classes, the first and the last ones."""

from collections.abc import Sequence

from actionrec.report import table

MOST_CLASSES = 60
"""Of a whole table: as many lines as a page of print has."""
END = 20  # classes at each end of a longer table


def is_cut(classes: int) -> bool:
    """Whether a table of so many classes is cut."""
    return classes > MOST_CLASSES


def class_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str, complete: str) -> str:
    """A Markdown table; if it is cut, with a row of dots in the gap and a line on it.

    Args:
        header, align: as for `table`.
        rows: cells of every class, in the order of the table.
        complete: a sentence that says where all classes are, for a table that is cut.
    """
    if not is_cut(len(rows)):
        return table(header, rows, align)
    gap = ["…", *[""] * (len(header) - 1)]
    body = table(header, [*rows[:END], gap, *rows[-END:]], align)
    return (
        f"{body}\n\nThe first {END} and the last {END} of {len(rows):,} classes; {len(rows) - 2 * END:,} are left out. {complete}"
    )
