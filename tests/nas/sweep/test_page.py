"""The page of a sweep: what stands on it, from runs that are made up, and from whatever is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nas.process.files import append_jsonl, read_json
from nas.sweep import folder
from nas.sweep.layout import SweepFiles
from nas.sweep.page import build, write_page
from tests.nas.report.made_up_run import BUDGETS, write_run
from tests.nas.small_runs import Command, small
from tests.nas.sweep.pretended import begun
from tests.nas.sweep.small_sweeps import write_sweep

WRITTEN = [{"name": each["name"], "latency": f"{each['latency_s']} s", "of": each["of"]} for each in BUDGETS]


def made_up(path: Path, kept: Mapping[int, bool | None] = {}, until: str = "verify", axes: Any = None) -> SweepFiles:
    """A sweep whose cells were made up in order; `kept` says of which the first budget was kept or not."""
    file = write_sweep(path, axes or {"winners.epochs": [1, 2], "seed": [0, 1, 2]}, small(budgets=WRITTEN))
    files, cells = begun(file, path / "out")
    for number, cell in enumerate(cells):
        folder.begin(files, cell, None)
        written = files.cell(cell.name).experiment.read_text()
        write_run(files.cell(cell.name).root, until, {"tiny": kept.get(number, True)}, seed=number, networks=16)
        files.cell(cell.name).experiment.write_text(written)
        events: list[dict[str, Any]] = [{"event": "begin", "stage": "calibrate"}, {"event": "end", "stage": "test"}]
        append_jsonl(files.cell(cell.name).log, [*events, {"event": "end", "stage": "report"}])
        files.cell(cell.name).report.write_text("page")
    return files


class Links(HTMLParser):
    """The links of a page, and elements that were not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def test_rows_are_budgets_with_the_spread_of_their_seeds(tmp_path: Path) -> None:
    view = build(made_up(tmp_path, {1: False}))
    assert [(row.row.repeated.values, row.row.budget.name, row.row.kept, row.row.complete) for row in view.rows] == [
        ({"winners.epochs": epochs}, budget["name"], 2 if (epochs, budget["name"]) == (1, "tiny") else 3, 3)
        for epochs in (1, 2)
        for budget in BUDGETS
    ]
    for row in view.rows:
        assert row.row.accuracy is not None and len(row.row.accuracy.values) == 3
        low, high = row.row.accuracy.ends
        assert low <= row.row.accuracy.mean <= high and row.row.accuracy.deviation is not None
    assert view.answer.headline == "5 of 6 cells kept their budgets." and view.answer.state == "not kept"


def test_what_could_not_be_measured_is_neither_kept_nor_broken(tmp_path: Path) -> None:
    view = build(made_up(tmp_path, {0: None, 1: None, 3: False}))
    assert [row.state for row in view.rows if row.row.budget.name == "tiny"] == ["not measured", "not kept"]
    assert [cell.cell.state for cell in view.cells] == ["not measured"] * 2 + ["kept", "not kept", "kept", "kept"]
    assert view.answer.text.startswith("Of the others 1 did not, 2 could not be measured.")


def test_links_lead_to_the_pages_of_cells_and_nothing_is_loaded(tmp_path: Path) -> None:
    files = made_up(tmp_path)
    files.cell("epochs-2_seed-1").report.unlink()
    page = write_page(files).read_text()
    links = [link for link in Links(page).found if not link.startswith("#")]
    assert len(links) == 5 and all((files.root / link).is_file() for link in links)
    assert page.count('class="sweep-front') == 2 + 2 * 6, "a line per cell at two widths, and a legend"
    opened, closed = (len(re.findall(rf"<{slash}(svg|table|section|tr|td)\b", page)) for slash in ("", "/"))
    assert opened == closed


@pytest.mark.parametrize("until", ["nothing", "calibrate", "search"])
def test_a_sweep_that_is_not_complete_has_a_page(until: str, tmp_path: Path) -> None:
    files = made_up(tmp_path, until=until)
    view = build(files)
    assert view.answer.state == "not measured" and "6 are not complete" in view.answer.text
    assert (view.wide is not None) == (until == "search")
    assert "No network has been judged." in write_page(files).read_text() or until == "search"


def test_a_sweep_that_did_not_begin_has_a_page(tmp_path: Path) -> None:
    files, _ = begun(write_sweep(tmp_path, {"seed": [0, 1]}), tmp_path / "out")
    assert build(files).answer.text.startswith("Of the others 2 are not complete")


def test_files_that_are_damaged_do_not_stop_the_page(tmp_path: Path) -> None:
    files = made_up(tmp_path)
    for number, name in enumerate(("trials.jsonl", "verify.json", "environment.json", "log.jsonl")):
        (files.cell(f"epochs-{1 + number // 3}_seed-{number % 3}").root / name).write_bytes(b"\xff{\n{}")
    assert "<h2" in write_page(files).read_text()
    assert read_json(files.cells, "")["schema"] == 1


def test_texts_of_others_are_escaped(tmp_path: Path) -> None:
    axes = {"data": [{"name": "npz", "path": "<script>alert(1)</script>"}, "digits"]}
    page = write_page(made_up(tmp_path, axes=axes)).read_text()
    assert "<script" not in page and "&lt;script&gt;" in page


def test_the_command_that_reports_a_run_reports_a_sweep(tmp_path: Path, nas: Command) -> None:
    files = made_up(tmp_path)
    done = nas("report", str(files.root))
    assert done.code == 0 and done.out == f"report: {files.report}\n" and files.report.is_file()
    assert nas("verify", str(files.root)).error.startswith(f"{files.root} is not a run")
