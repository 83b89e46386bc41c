"""`benchmarks.coverage` and its simulations: properties that hold exactly, and agreement with the tables in docs/protocols.md."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from actionrec.evaluation import intervals, significance_tests
from benchmarks import coverage, simulations

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs" / "protocols.md").read_text()
SETS = 500  # of the figures in the docs


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", coverage.DRAWS_OF_INTERVALS)
    monkeypatch.setattr(significance_tests, "RESAMPLES", coverage.DRAWS_OF_TESTS)


def rng(seed=0):
    return np.random.default_rng(seed)


def mean(simulation, sets, *arguments):
    return np.mean([simulation(*arguments, rng(seed)) for seed in range(sets)], axis=0)


def documented(name):
    """Title, and the cells of all lines, of a table in the docs."""
    block = DOCS[DOCS.index(f"<!-- python -m benchmarks.coverage --table {name} -->") :]
    title, _, text = block.partition("\n")[2].partition("\n\n")
    lines = text[: text.index("\n\n")].splitlines()
    return title, [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name", coverage.TABLES)
def test_the_docs_have_each_table_with_its_rows(name):
    title, (header, _, *rows) = documented(name)
    table = coverage.TABLES[name]()
    assert title == f"**{table.title}** ({table.unit}):"
    assert tuple(header) == table.header
    assert [tuple(row[: len(table.rows[0].labels)]) for row in rows] == [row.labels for row in table.rows]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "row"), [("worst", 3), ("majority", 0), ("regret", 4), ("regret", 6)])
def test_the_figures_in_the_docs_are_those_that_are_printed(name, row):
    table = coverage.TABLES[name]()
    values = [coverage.simulate((name, row, case, range(SETS))) for case in range(len(table.rows[row].cases))]
    expected = table.cells(100 * np.array(values, dtype=float).mean(axis=1))
    assert documented(name)[1][2 + row] == [*table.rows[row].labels, *expected]


def test_the_tables_that_docs_and_docstrings_name_exist():
    texts = [path.read_text() for folder, kind in (("actionrec", "*.py"), ("docs", "*.md")) for path in (ROOT / folder).rglob(kind)]
    named = {name for text in texts for name in re.findall(r"--table (\w+)", text)} | set(re.findall(r"\b[Tt]able\s`(\w+)`", DOCS))
    assert named == set(coverage.TABLES)


def test_the_same_sets_give_the_same_values_in_chunks_of_any_size():
    at_once = coverage.simulate(("worst", 1, 2, range(4)))
    assert at_once == coverage.simulate(("worst", 1, 2, range(2))) + coverage.simulate(("worst", 1, 2, range(2, 4)))


def test_a_table_has_the_means_of_its_cases(monkeypatch):
    row = coverage.Row(("6",), [lambda random: [1.0, 0.5], lambda random: [float(random.random() < 2), 0.0]])
    table = coverage.Table("Title", ("sources", "one", "other"), [row, row], coverage.lowest_to_highest)
    monkeypatch.setitem(coverage.TABLES, "toy", lambda: table)
    tasks = [*coverage.chunks("toy", 120)]
    assert len(tasks) == 2 * 2 * 3  # rows, cases, chunks of up to 50
    text = coverage.filled("toy", 120, map(coverage.simulate, tasks))
    assert text.splitlines()[-2:] == ["|       6 | 100-100 |  0-50 |"] * 2


def test_answers_have_the_accuracy_and_the_correlation():
    clusters = np.repeat(np.arange(40_000), 2)
    correct = simulations.answers(0.8, clusters, 0.3, rng())
    assert correct.mean() == pytest.approx(0.8, abs=0.01)
    assert np.corrcoef(correct[::2], correct[1::2])[0, 1] == pytest.approx(0.3, abs=0.02)


def test_answers_of_runs_have_the_accuracy_of_the_recipe():
    clusters = np.repeat(np.arange(100), 2)
    shares = [simulations.answers_of_runs(0.8, clusters, 3, 0.02, rng(seed)).mean(axis=1) for seed in range(400)]
    assert np.mean(shares) == pytest.approx(0.8, abs=0.01)
    assert np.std(np.array(shares)[:, 0] - np.array(shares)[:, 1]) == pytest.approx(0.05, abs=0.02)


def test_intervals_of_independent_clips_cover():
    ours, _, wilson = mean(simulations.accuracy_covered, 200, 0.5, 50, "1", 0.0)
    assert 0.92 <= wilson <= ours


def test_an_interval_over_class_and_person_covers_less_than_one_over_persons():
    persons, cells = mean(simulations.persons_covered, 100, 0.8, 25, 5, 0.6)
    assert persons >= 0.9
    assert cells <= persons - 0.1


def test_an_interval_over_sources_alone_covers_a_recipe_s_accuracy_less_often():
    both, alone = mean(simulations.runs_covered, 100, 0.8, 250, 5, 0.02)
    assert both >= 0.9
    assert alone <= both - 0.1


def test_equal_models_have_no_true_differences_and_different_ones_no_false_alarms():
    pairs = [(0, 1)]
    equal = simulations.compared([0.9, 0.9], pairs, 10, "4-7", 0.3, rng())
    assert np.isnan([equal[2], equal[4]]).all()
    assert not np.isnan([equal[0], equal[1], equal[3]]).any()
    different = simulations.compared([1.0, 0.0], pairs, 10, "4-7", 0.0, rng())
    assert different[2] == different[4] == 1
    assert np.isnan([different[1], different[3]]).all()


def test_a_model_that_answers_at_random_is_never_better_than_a_single_class():
    assert simulations.guessing(1, 10, rng()) == [0, 0, 0, 0]


def test_no_rule_loses_anything_among_equal_models():
    assert simulations.points_lost([0.9] * 3, 10, "4-7", rng()) == [0, 0, 0]


def test_the_advice_loses_less_than_the_cheapest_model_not_shown_to_be_worse():
    tied, advised, first = mean(simulations.points_lost, 60, [0.8, 0.95, 0.95], 24, "1")
    assert advised <= first < tied


@pytest.mark.slow
def test_a_file_with_other_figures_fails_the_check(tmp_path):
    def run(*more):
        command = [sys.executable, "-m", "benchmarks.coverage", "--table", "worst", "--sets", "2", *more]
        return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)

    page = tmp_path / "page.md"
    page.write_text(f"Text\n\n{run('--processes', '1').stdout}\nText\n")
    assert run("--check", str(page)).returncode == 0
    page.write_text(page.read_text().replace("false alarms |", "alarms |"))
    failed = run("--processes", "1", "--check", str(page))
    assert failed.returncode == 1
    assert f"{page}: other figures than these: worst" in failed.stderr
