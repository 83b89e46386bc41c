"""The sample's results in README.md and docs/results.md, from the files in metrics/.

`python -m docs.sample_results` writes them between the markers `<!-- sample: NAME -->` and `<!-- end -->` of the two pages.
"""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actionrec.core import paths
from actionrec.core.text import percent
from actionrec.io.files import read_json, write_text
from actionrec.report import table

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
_BLOCK = re.compile(r"(<!-- sample: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    for page in PAGES:
        write_text(page, updated(page.read_text(encoding="utf-8")))


def updated(page: str) -> str:
    """A page with the results of the last run in its blocks."""
    compared = read_json(paths.COMPARISON)
    return _BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]](compared)}\n{match[3]}", page)


def results(compared: Mapping[str, Any]) -> str:
    """Every model, in order of rank."""
    with paths.RESULTS_CSV.open(newline="", encoding="utf-8") as stream:  # timing.json is not in Git
        seconds = {row["model"]: row["train_seconds"] for row in csv.DictReader(stream)}
    rows = []
    for name, one in sorted(compared["models"].items(), key=lambda item: item[1]["rank"]):
        interval = f"{percent(one['top1_low'])}–{percent(one['top1_high'])}"
        rows.append([name, percent(one["top1"]), interval, percent(one["macro_f1"]), f"{one['parameters']:,}", seconds[name]])
    return table(["model", "top-1 %", "95 % interval", "macro F1 %", "parameters", "training s"], rows, "lrrrrr")


def headline(compared: Mapping[str, Any]) -> str:
    """The first sentences of the report."""
    return "\n".join(f"> - {sentence}" for sentence in compared["headline"])


def order(compared: Mapping[str, Any]) -> str:
    """What the frames' order is worth to each model."""
    ranks = {name: one["rank"] for name, one in compared["models"].items()}
    rows = [
        [one["model"], *(percent(one[key]) for key in ("top1", "shuffled", "reversed"))]
        for one in sorted(compared["order_of_frames"], key=lambda one: ranks[one["model"]])
    ]
    return table(["model", "in order, top-1 %", "shuffled", "reversed"], rows, "lrrr")


BLOCKS = {"results": results, "headline": headline, "order": order}


if __name__ == "__main__":
    main()
