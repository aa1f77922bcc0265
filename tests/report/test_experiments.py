"""docs/experiments.md names, for each experiment, what makes it; all of that exists, and the study has its numbers."""

import re
from fnmatch import fnmatch
from typing import NamedTuple

import pytest
from repository import NOTEBOOKS, ROOT, code

from s2f.report import estimates, ledger, page

LEDGER = ledger.load()
MADE_BY = {path.stem: code(path) for path in NOTEBOOKS}


class Line(NamedTuple):
    """A row of the table: experiment, notebooks, functions, patterns of ledger keys."""

    where: str
    notebooks: list[str]
    functions: list[str]
    keys: list[str]


def lines() -> list[Line]:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", DOCS, re.M)
    parts = [(where, *(re.findall(r"`([^`]+)`", cell) for cell in cells)) for where, *cells in rows]
    return [Line(*part) for part in parts if part[1]]


DOCS = (ROOT / "docs" / "experiments.md").read_text()
LINES = lines()
each_line = pytest.mark.parametrize("line", LINES, ids=lambda line: line.where)
each_experiment = pytest.mark.parametrize("experiment", LEDGER.experiments, ids=lambda experiment: experiment.id)


def test_the_table_has_a_row_for_each_experiment_in_the_order_of_the_report():
    assert [line.where for line in LINES] == [experiment.where for experiment in LEDGER.experiments]


@pytest.mark.parametrize("number", range(1, 15))
def test_every_figure_of_the_paper_has_a_row(number):
    """In the words of a row: "Fig. 5(c)", "Table 1 and Fig. 2", "Figs 1 and 3"."""
    assert any(re.search(rf"Figs?\.? (\d+ and )?{number}\b", line.where) for line in LINES)


@pytest.mark.parametrize("number", (1, 2, 3))
def test_every_table_of_the_paper_has_a_row(number):
    assert any(f"Table {number}" in line.where for line in LINES)


@each_line
def test_a_row_names_what_the_ledger_names(line):
    (experiment,) = (experiment for experiment in LEDGER.experiments if experiment.where == line.where)
    assert line.notebooks == experiment.notebooks
    assert line.functions == experiment.functions


def test_every_ledger_key_is_in_exactly_one_row():
    for entry in LEDGER.entries:
        rows = [line.where for line in LINES if any(fnmatch(entry.key, pattern) for pattern in line.keys)]
        assert rows == [entry.where], entry.key


@each_line
def test_a_row_names_no_key_that_is_not_there(line):
    for pattern in line.keys:
        assert any(fnmatch(entry.key, pattern) for entry in LEDGER.entries), pattern


@each_experiment
def test_notebooks_and_functions_exist(experiment):
    assert set(experiment.notebooks) <= set(MADE_BY)
    assert all(page.source(name) for name in experiment.functions)


@each_experiment
def test_the_notebooks_of_an_experiment_write_its_numbers_and_figures(experiment):
    texts = "\n".join(MADE_BY[name] for name in experiment.notebooks)
    results = set(re.findall(r'output\.results / "(\w+)\.json"', texts))
    folders = set(re.findall(r'output\.results / "figures" / "(\w+)"', texts))
    ours = [row.ours for group in experiment.groups for row in group.rows if row.ours]
    assert {key.split(".")[0] for key in ours} <= results
    assert {figure.file.split("/")[0] for figure in experiment.figures} <= folders


def test_the_default_study_has_every_number():
    results = estimates.load(ROOT / "results")
    # A key that leads nowhere, or not to a number, is an error.
    assert page.ledger_rows(LEDGER.explained(synthetic=True), results)
