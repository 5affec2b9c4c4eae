"""The page stands alone, says what became of every budget, and is written whatever a run's folder lacks."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_profiles import Target
from hardware_profiles import load as load_profile
from latency_models.roofline import Roofline
from nas.errors import InputError
from nas.process.files import append_jsonl, atomic_write_json, read_jsonl
from nas.report import formatting, write_report
from tests.nas.report.made_up_run import BUDGETS, STAGES, TARGET, settle_again, space, write_run

_VOID = {"meta", "link", "br", "img", "hr", "input"}

#: What was verified, and what was tested.
VERDICTS = ("verify.json", "test.json")


def _page(folder: Path) -> str:
    return write_report(folder, space()).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("kept") / "run", networks=96)


@pytest.fixture(scope="module")
def kept_page(kept_run: Path) -> str:
    return _page(kept_run)


class _Balance(HTMLParser):
    """Collects ids and links, and checks that every element is closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._attributes(attrs)

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.references += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _check_html(page: str) -> None:
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert all(reference.startswith("#") and reference[1:] in parser.ids for reference in parser.references)
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(drawing)


def test_the_page_loads_nothing_and_is_well_formed(kept_page: str) -> None:
    _check_html(kept_page)
    assert not re.search(r"https?:|url\(|@import|<script|<iframe|<link|<img", kept_page)
    assert "nan" not in re.sub(r"[a-z]+nan|nan[a-z]+", "", kept_page)


def test_every_budget_and_winner_is_on_it(kept_run: Path, kept_page: str) -> None:
    verify = json.loads((kept_run / "verify.json").read_text())
    for budget, winner in zip(BUDGETS, verify["winners"], strict=True):
        assert f"</svg>{budget['name']}</h3>" in kept_page
        assert f"{1e6 * winner['measured_s']:.0f}\N{NO-BREAK SPACE}µs" in kept_page
        assert f"cd winners/{winner['name']}" in kept_page
        assert " ".join(map(str, winner["genome"])) in kept_page


def test_a_kept_run_looks_kept(kept_page: str) -> None:
    assert '<header class="top kept">' in kept_page
    assert "All 3 budgets are kept." in kept_page
    assert "not kept" not in kept_page
    assert "not measured" not in kept_page


def test_energy_and_memory_are_called_estimates(kept_run: Path, kept_page: str, tmp_path: Path) -> None:
    whole = json.loads((kept_run / "verify.json").read_text())
    for winner in whole["winners"]:
        energy, memory = (
            formatting.energy(winner["energy_estimate_j"]),
            formatting.size(winner["peak_memory_estimate_bytes"]),
        )
        assert f"<dt>energy of a call, estimated</dt><dd>{energy}</dd>" in kept_page
        assert f"<dt>peak memory, estimated</dt><dd>{memory}</dd>" in kept_page
    assert "Energy and peak memory are estimates" in kept_page and "No energy is estimated" not in kept_page

    folder = write_run(tmp_path / "run", networks=32, budgets=BUDGETS[:1])
    verify = json.loads((folder / "verify.json").read_text())
    verify["winners"][0] |= {"energy_estimate_j": None, "energy_estimate_reason": "device 'x' has no idle_w"}
    atomic_write_json(folder / "verify.json", verify)
    settle_again(folder)
    page = _page(folder)
    assert "No energy is estimated: device &#39;x&#39; has no idle_w." in page and "energy of a call" not in page
    for name in ("energy_estimate_reason", "peak_memory_estimate_bytes"):
        del verify["winners"][0][name]
    atomic_write_json(folder / "verify.json", verify)
    settle_again(folder)
    assert "stimate" not in re.sub(r"<pre>.*?</pre>", "", _page(folder), flags=re.DOTALL)


def test_writing_again_gives_the_same_page(kept_run: Path, kept_page: str) -> None:
    assert _page(kept_run) == kept_page


def test_a_run_in_which_nothing_fits_says_so(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", "calibrate", networks=16)
    append_jsonl(folder / "log.jsonl", [{"time": 0.0, "event": "nothing fits", "statement": "It needs 3 ms & more."}])
    page = _page(folder)
    assert "<h1>Nothing fits.</h1><p>It needs 3 ms &amp; more.</p>" in page
    assert '<header class="top not-kept">' in page
    assert "not measured" not in page


@pytest.mark.parametrize(
    ("kept", "state", "headline"),
    [
        ({"tiny": False}, "not-kept", "2 of 3 budgets are kept."),
        ({"tiny": False, "balanced": False}, "not-kept", "1 of 3 budgets is kept."),
        ({"tiny": False, "balanced": False, "accurate": False}, "not-kept", "No budget is kept."),
        ({"tiny": False, "balanced": None}, "not-kept", "1 of 3 budgets is kept."),
        ({"tiny": None}, "not-measured", "2 of 3 budgets kept, the rest not measured."),
        ({"tiny": None, "balanced": None, "accurate": None}, "not-measured", "Nothing was measured."),
    ],
)
def test_the_verdict_is_the_worst_of_the_budgets(
    tmp_path: Path, kept: dict[str, bool | None], state: str, headline: str
) -> None:
    page = _page(write_run(tmp_path / "run", kept=kept, networks=64))
    assert f'<header class="top {state}">' in page
    assert f"<h1>{headline}</h1>" in page
    assert page.count("</span> not kept</span>") == sum(value is False for value in kept.values())


@pytest.mark.parametrize("until", STAGES)
def test_a_run_that_ended_early_gets_a_page(tmp_path: Path, until: str) -> None:
    page = _page(write_run(tmp_path / "run", until, networks=64))
    _check_html(page)
    assert ("Not verified yet." in page) == (until != "verify")
    assert ("The run stopped during “train”." in page) == (until == "search")
    assert ("No network has been judged." in page) == (until in ("nothing", "calibrate"))
    for budget in BUDGETS if until != "nothing" else ():
        assert f"</svg>{budget['name']}</h3>" in page


def test_what_nothing_fits_says_is_shown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", "calibrate", networks=16)
    unmet = [{"budget": dict(b), "statement": f"Nothing fits {b['name']} & co."} for b in BUDGETS]
    atomic_write_json(folder / "verify.json", {"schema": 2, "looks": 1, "winners": [], "unmet": unmet})
    page = _page(folder)
    assert "<h1>No budget is kept.</h1>" in page
    assert all(f"Nothing fits {b['name']} &amp; co." in page for b in BUDGETS)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a'b & c\x0b"])
def test_hostile_names_are_text(tmp_path: Path, name: str) -> None:
    budgets = [{**BUDGETS[0], "name": name}, *BUDGETS[1:]]
    folder = write_run(tmp_path / "run", name=name, budgets=budgets, kept={name: False}, networks=64)
    verify, test = (json.loads((folder / file).read_text()) for file in VERDICTS)
    for winner in (verify["winners"][0], test["winners"][0]):
        winner["reason"] = winner["exits"][0]["name"] = winner["target"] = winner["key"] = name
    test["winners"][0]["parity"] = {name: {"skipped": name}}
    for file, record in zip(VERDICTS, (verify, test), strict=True):
        atomic_write_json(folder / file, record)
    page = _page(folder)
    _check_html(page)
    assert "<script" not in page
    assert "<img" not in page


def test_what_the_run_noted_of_its_machine_is_among_the_facts(kept_page: str, tmp_path: Path) -> None:
    for name, value in (
        ("cores used", "2 of 8"), ("trains on", "cpu"), ("unused GPU", "none"), ("C++ kernel", "g++ 12.2.0"),
        ("governor", "powersave"),
    ):  # fmt: skip
        assert f"<dt>{name}</dt><dd>{value}</dd>" in kept_page
    folder = write_run(tmp_path / "run", networks=32, budgets=BUDGETS[:1])
    environment = json.loads((folder / "environment.json").read_text())
    atomic_write_json(folder / "environment.json", {**environment, "facts": {"cores_used": "many", "compiler": None}})
    assert "<dt>C++ kernel</dt><dd>not used</dd>" in _page(folder)
    del environment["facts"]
    atomic_write_json(folder / "environment.json", environment)
    assert "<dt>governor</dt>" not in _page(folder)


@pytest.mark.parametrize("file", ["experiment.yaml", "environment.json", "front.json", *VERDICTS, "trials.jsonl",
                                  "measurements.jsonl", "log.jsonl"])  # fmt: skip
@pytest.mark.parametrize("content", [None, "{[", "[3]\n", '{"schema": 99, "winners": 3, "budgets": {"a": 1}}\n'])
def test_a_missing_or_strange_file_leaves_a_gap(tmp_path: Path, file: str, content: str | None) -> None:
    folder = write_run(tmp_path / "run", networks=32, budgets=BUDGETS[:1])
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content + ("\n" if content == "{[" else ""))
    page = _page(folder)
    _check_html(page)
    assert ("Some files could not be read" in page) == (
        content == "{["
        or (content == "[3]\n" and file != "experiment.yaml")
        or (content is not None and file == "trials.jsonl")
    )


@pytest.mark.parametrize("file", VERDICTS)
def test_a_winner_may_lack_any_key(file: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", networks=32, budgets=BUDGETS[:1])
    whole = json.loads((folder / file).read_text())
    for key in whole["winners"][0]:
        for value in (..., "text"):
            winner: dict[str, Any] = {k: v for k, v in whole["winners"][0].items() if k != key}
            if value is not ...:
                winner[key] = value
            (folder / file).write_text(json.dumps({**whole, "winners": [winner]}))
            assert f"</svg>{BUDGETS[0]['name']}</h3>" in _page(folder), (key, value)


def test_a_genome_of_another_space_is_not_drawn(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", networks=32, budgets=BUDGETS[:1])
    verify = json.loads((folder / "verify.json").read_text())
    verify["winners"][0]["genome"] = [7, 7]
    atomic_write_json(folder / "verify.json", verify)
    settle_again(folder)
    assert "It cannot be drawn: genome (7, 7) does not fit space" in _page(folder)


def test_calibration_without_predictions_uses_the_run_s_model(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", "calibrate", networks=24)
    rows = read_jsonl(folder / "measurements.jsonl")
    lines = [json.dumps({**row, "predicted_s": None, "predicted_std_s": None}) + "\n" for row in rows]
    (folder / "measurements.jsonl").write_text("".join(lines))
    assert "12\N{NO-BREAK SPACE}networks measured, but no prediction was kept" in _page(folder)

    target = Target("host", "onnxruntime")
    assert target.key == TARGET
    networks = [space().decode(row["genome"]) for row in rows]
    reach = np.full((len(rows), 4), np.nan)
    for number, row in enumerate(rows):
        reach[number, : len(row["exits"])] = [exit_["median_s"] for exit_ in row["exits"]]
    Roofline(load_profile("rpi4b"), target).fit(networks, reach).save(folder / "latency_model.npz")
    page = _page(folder)
    assert "In sample: the model was fitted to these networks." in page
    assert "Each left out of the fit in turn, they are missed by" in page
    assert "All 12 as a table" in page


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        write_report(tmp_path / "nowhere", space())


def test_the_end_of_a_differentiable_search_is_shown_with_its_warning(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", networks=24)
    assert "differentiable search" not in _page(run)
    report = {"entropy_mean": 0.31, "left_out": 0.75, "left_out_random": 0.4}
    record = {"schema": 1, "budget": "tiny", "limit_s": 0.36e-3, "before_s": 0.41e-3, "report": report}
    record |= {"proposals": [[0], [1]], "proposals_s": [0.355e-3, 0.3e-3], "statement": "collapsed: far too bare"}
    (run / "optimiser").mkdir()
    atomic_write_json(run / "optimiser" / "tiny.json", record)
    page = _page(run)
    _check_html(page)
    table = page[page.index("Where the optimiser ended") :]
    for text in ("tiny", "360", "355", "410", "31", "75", "40", "tiny: collapsed: far too bare."):
        assert text in table, text
    (run / "optimiser" / "tiny.json").write_text("{")
    assert "optimiser/tiny.json is not JSON" in _page(run)
