"""Reports for people, spreadsheets and papers, with accuracies in percent.

They contain timings, so they change from run to run; compare.json does not.
"""

import re
from collections.abc import Sequence

from actionrec.core.text import on_one_line


def p_value(p: float) -> str:
    """A p-value with three decimals."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def escape_markdown(text: str) -> str:
    """Make any text safe in a Markdown paragraph or table cell, on one line."""
    # Underscores between letters stay: they are not emphasis, and model names without backslashes are easier to search.
    line = re.sub(r"([\\`*{}\[\]<>#|~$@])", r"\\\1", on_one_line(text))
    # Entities, links, and list markers at the start of a paragraph.
    line = re.sub(r"(&(?=\w+;)|:(?=//)|(?<=www)\.|^[-+=](?=\s|$)|(?<=^\d)[.)](?=\s|$))", r"\\\1", line)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", line)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A Markdown table with padded columns, so that it is readable in a terminal too.

    Args:
        header: one title per column.
        rows: cells, already escaped.
        align: one letter per column, l or r.
    """
    widths = [max(3, *(len(row[column]) for row in (header, *rows))) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if side == "r" else cell.ljust(width) for cell, width, side in zip(cells, widths, align, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = [f"{'-' * (width - 1)}:" if side == "r" else "-" * width for width, side in zip(widths, align, strict=True)]
    return "\n".join([line(header), f"| {' | '.join(rule)} |", *(line(row) for row in rows)])
