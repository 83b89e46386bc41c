"""docs/walkthrough.ipynb: runs as it is, and what it shows is small, plain, and of the last run."""

import csv
import json
import re
import shutil
from pathlib import Path

import finished
import nbformat
import pytest
from nbclient import NotebookClient

from actionrec.models import MODELS

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs/walkthrough.ipynb"
LARGEST = 400_000  # bytes


def outputs(book):
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def texts(book):
    """What the cells print and show as text."""
    for output in outputs(book):
        if output.output_type == "stream":
            yield output.text
        else:
            yield from (str(data) for kind, data in output.data.items() if kind.startswith("text/"))


def check_plain(book):
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
    assert {output.output_type for output in outputs(book)} <= {"stream", "execute_result", "display_data"}
    assert {output.name for output in outputs(book) if output.output_type == "stream"} == {"stdout"}
    assert not any("execution" in cell.metadata for cell in book.cells)  # when each cell ran
    assert not re.findall(r"(?<![\w.])/\w+/\w+", "\n".join(texts(book)))  # paths of a machine
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs(book)) == 4


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, 4)


def test_what_is_committed_is_whole_small_and_without_traces_of_a_machine(committed):
    nbformat.validate(committed)
    check_plain(committed)
    assert NOTEBOOK.stat().st_size < LARGEST
    assert committed.metadata.language_info == {"name": "python"}


def test_its_table_is_the_last_runs(committed):
    """If this fails after another run: `make notebook`."""
    with (ROOT / "metrics/results_table.csv").open(newline="") as stream:
        wanted = [
            (row["rank"], row["model"], *(f"{float(row[key]):.1f}" for key in ("top1_percent", "top1_low_percent")))
            for row in csv.DictReader(stream)
        ]
    [ranked] = [text for text in texts(committed) if "| 95 % interval |" in text]
    assert re.findall(r"^\| +(\d) \| (\w+) +\| +([\d.]+) \| +([\d.]+)–", ranked, re.MULTILINE) == wanted


def test_its_links_lead_somewhere(committed):
    prose = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", prose)
    assert len(links) > 5
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


@pytest.mark.slow
def test_it_runs_on_another_run_from_both_folders_and_shows_the_same(tmp_path_factory):
    project = finished.sample_project(tmp_path_factory.getbasetemp())
    shutil.copy(NOTEBOOK, project / "docs/walkthrough.ipynb")
    shown = []
    for folder in ("docs", "."):
        book = nbformat.read(project / "docs/walkthrough.ipynb", 4)
        NotebookClient(book, record_timing=False, resources={"metadata": {"path": str(project / folder)}}).execute()
        check_plain(book)
        shown.append(outputs(book))
    assert shown[0] == shown[1]
    compared = json.loads((project / "metrics/compare.json").read_text())
    said = "\n".join(texts(book))
    assert all(f"| {name} " in said for name in MODELS)
    assert f"{compared['best']} on a clip of " in said
    assert "96 clips in data/raw/sample: 8 classes" in said
