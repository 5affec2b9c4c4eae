"""The documents: keys, fields, numbers, links and names in them are those of the code."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nas.deploy import manifest
from nas.deploy.segment import SegmentFile
from nas.devices import measurement
from nas.run import trial
from tests.documents import LANGUAGES, PAGES, ROOT, blocks, names_in, prose, rows, sections

OURS = ("nas", "search_spaces", "latency_models", "hardware_profiles")

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_every_block_says_what_language_it_is_in() -> None:
    assert not [str(block) for block in blocks() if block.language not in LANGUAGES]


def test_every_section_and_key_of_an_experiment_is_described_with_its_type_and_default(reference: ModuleType) -> None:
    page = sections("experiment.md")
    described = {name: rows(text) for name, text in page.items()}
    wanted = {
        name: [[f"`{key.name}`", key.type, key.default if key.default == "required" else f"`{key.default}`"]
               for key in keys]
        for name, keys in reference.sections().items()
    }  # fmt: skip
    assert set(wanted) <= set(page)
    for name, keys in wanted.items():
        assert [row[:3] for row in described.pop(name)] == keys, name
    assert not [name for name, keys in described.items() if keys], "tables of sections that there are not"


def test_every_key_says_what_it_means() -> None:
    for name, text in sections("experiment.md").items():
        for row in rows(text):
            assert len(row) == 4 and row[3], (name, row)


def keys_written(module: str, *functions: str) -> set[str]:
    """The texts that are keys of dicts, written out or assigned to, in some functions of a module."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    found = {node.name: node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
    keys: set[str] = set()
    for function in functions:
        for node in ast.walk(found[function]):
            written: list[Any] = []
            if isinstance(node, ast.Dict):
                written = node.keys
            elif isinstance(node, ast.Assign):
                written = [target.slice for target in node.targets if isinstance(target, ast.Subscript)]
            keys |= {key.value for key in written if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    # One-letter keys are handles within a function.
    return {key for key in keys if len(key) > 1}


def fields_described(heading: str) -> set[str]:
    """The names in the first column under a heading of docs/run_folder.md."""
    return {name for row in rows(sections("run_folder.md")[heading]) for name in names_in(row[0])}


def fields(kind: Any, prefix: str = "") -> set[str]:
    return {prefix + field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("heading", "wanted"),
    [
        ("trials.jsonl", fields(trial.Trial) | fields(trial.AtBudget, "budgets[].")),
        ("measurements.jsonl", fields(measurement.Measurement) | fields(measurement.ExitTime, "exits[].")),
        ("manifest.json", fields(manifest.Manifest) | fields(SegmentFile, "exits[].") | {"schema", "exits[].outputs"}),
        ("front.json", keys_written("nas.search.front", "front_of")),
        (
            "optimiser",
            keys_written("nas.stages.optimise", "_for_budget", "_record")
            | keys_written("nas.run.optimiser", "write_found"),
        ),
        ("environment.json", keys_written("nas.run.opening", "open_context")),
    ],
)
def test_the_fields_of_files_are_described(heading: str, wanted: set[str]) -> None:
    assert fields_described(heading) == wanted


@pytest.mark.parametrize(
    ("heading", "functions"),
    [
        ("verify.json", ("write_measured", "_measured_record", "budget_record")),
        ("test.json", ("write_tested", "_tested_record", "_check_record")),
    ],
)
def test_the_fields_of_verdicts_are_described(heading: str, functions: tuple[str, ...]) -> None:
    written = keys_written("nas.run.verdict_files", *functions)
    if heading == "verify.json":
        written |= keys_written("nas.stages.verify", "_counts")
    text = sections("run_folder.md")[heading]
    assert written <= {part for name in names_in(text) for part in re.split(r"\W+", name)}
    parts = {part for name in fields_described(heading) for part in re.findall(r"\w+", name)}
    assert parts <= written


NUMBERS = [
    (module, name, row[2])
    for page in sorted((ROOT / "docs").glob("*.md"))
    for text in sections(page.name).values()
    for row in rows(text)
    if len(row) == 3 and (found := re.fullmatch(r"`([\w.]+):(\w+)`", row[1]))
    for module, name in [found.groups()]
]


@pytest.mark.parametrize(("module", "name", "cell"), NUMBERS)
def test_numbers_are_those_of_the_code(module: str, name: str, cell: str) -> None:
    assert cell == f"`{getattr(importlib.import_module(module), name)}`"


def test_there_are_numbers() -> None:
    assert {module for module, _, _ in NUMBERS} >= {"nas.tolerances", "nas.exits.levels"}


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(target), re.MULTILINE)
            assert anchor in map(_slug, headings), link


def test_pages_have_links_and_names_of_ours() -> None:
    assert sum(len(_LINK.findall(prose(page))) for page in PAGES) > len(PAGES)
    code = [code for page in PAGES for code in names_in(prose(page))]
    assert any(code.startswith("nas/") for code in code) and any(code.startswith("nas.") for code in code)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            links = (link.partition("#")[0] for link in _LINK.findall(page.read_text()) if "://" not in link)
            waiting += [(page.parent / link).resolve() for link in links if link.endswith(".md")]
    assert set(PAGES) <= reached


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_of_ours_exist(page: Path) -> None:
    for code in names_in(prose(page)):
        if re.fullmatch(rf"(?:{'|'.join((*OURS, 'tests', 'benchmarks', 'docs', 'experiments'))})/[\w/]+\.\w+", code):
            stands_for_any = {"mine", "ID"} & set(re.split(r"\W", code))
            assert stands_for_any or (ROOT / code).is_file(), code
        elif re.fullmatch(rf"(?:{'|'.join(OURS)})(?:\.\w+)+", code):
            assert _exists(code), code


def _exists(dotted: str) -> bool:
    """Whether a dotted name is a module of ours or something in one."""
    module, _, name = dotted.rpartition(".")
    if importlib.util.find_spec(module) is None:
        return False
    return hasattr(importlib.import_module(module), name) or importlib.util.find_spec(dotted) is not None
