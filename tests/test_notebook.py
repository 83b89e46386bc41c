"""docs/walkthrough.ipynb: it runs, its outputs are small and plain, and its table is that of the last run."""

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
    """Text that the cells print or display."""
    for output in outputs(book):
        if output.output_type == "stream":
            yield output.text
        else:
            yield from (str(data) for kind, data in output.data.items() if kind.startswith("text/"))


def check_plain(book):
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
    assert {output.output_type for output in outputs(book)} <= {"stream", "execute_result", "display_data"}
    assert {output.name for output in outputs(book) if output.output_type == "stream"} == {"stdout"}
    assert not any("execution" in cell.metadata for cell in book.cells)  # times of execution
    assert not re.findall(r"(?<![\w.])/\w+/\w+", "\n".join(texts(book)))  # no machine paths
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs(book)) == 4


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, 4)


def test_the_committed_notebook_is_valid_small_and_without_machine_paths(committed):
    nbformat.validate(committed)
    check_plain(committed)
    assert NOTEBOOK.stat().st_size < LARGEST
    assert committed.metadata.language_info == {"name": "python"}


def test_its_table_is_that_of_the_last_run(committed):
    """If this fails after another run: `make notebook`."""
    with (ROOT / "metrics/results_table.csv").open(newline="") as stream:
        expected = [
            (row["rank"], row["model"], *(f"{float(row[key]):.1f}" for key in ("top1_percent", "top1_low_percent")))
            for row in csv.DictReader(stream)
        ]
    [ranked] = [text for text in texts(committed) if "| 95 % interval |" in text]
    assert re.findall(r"^\| +(\d+) \| (\w+) +\| +([\d.]+) \| +([\d.]+)–", ranked, re.MULTILINE) == expected


def test_its_links_lead_to_files(committed):
    prose = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", prose)
    assert len(links) > 5
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


@pytest.mark.slow
def test_it_runs_in_another_project_from_both_folders_with_the_same_outputs(tmp_path_factory):
    project = finished.real_project(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("notebook") / "project")
    shutil.copy(NOTEBOOK, project / "docs/walkthrough.ipynb")
    outputs_of_runs = []
    for folder in ("docs", "."):
        book = nbformat.read(project / "docs/walkthrough.ipynb", 4)
        NotebookClient(
            book, record_timing=False, coalesce_streams=True, resources={"metadata": {"path": str(project / folder)}}
        ).execute()
        check_plain(book)
        outputs_of_runs.append(outputs(book))
    assert outputs_of_runs[0] == outputs_of_runs[1]
    compared = json.loads((project / "metrics/compare.json").read_text())
    text = "\n".join(texts(book))
    assert all(f"| {name} " in text for name in MODELS)
    assert f"{compared['best']} on a clip of " in text
    assert "18 clips in data/raw/tiny: 3 classes, 6 groups" in text
