"""The documents: keys, fields, numbers, examples, commands and links in them are those of the code."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from latency_models import features
from nas import config, plain_yaml
from nas.__main__ import _parser, main
from nas.deploy import manifest
from nas.deploy.onnx import SegmentFile, export_segments, to_onnx
from nas.devices import measurement
from nas.run import trial
from nas.run.context import materials
from nas.tasks.image_classification.preprocessing import Preprocessing
from search_spaces.toy import toy

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
OURS = ("nas", "search_spaces", "latency_models", "hardware_profiles")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"# ([\w/]+\.(?:py|yaml))\n")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block; `name` is the file that its first line says it is, if it does."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        found = _FILE_NAME.match(self.text)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(language: str | None = None) -> list[Block]:
    return [
        Block(page, page.read_text()[: found.start()].count("\n") + 1, found[1], found[2])
        for page in PAGES
        for found in _FENCE.finditer(page.read_text())
        if language in (None, found[1])
    ]


def sections(page: str) -> dict[str, str]:
    """The text under each heading of a page, fenced blocks left out."""
    _, *parts = re.split(r"^#+ (.+)\n", _FENCE.sub("", (ROOT / "docs" / page).read_text()), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without their headers."""
    lines = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    rules = [number for number, line in enumerate(lines) if set("".join(line)) <= set("-|")]
    return [line for number, line in enumerate(lines) if number not in rules and number + 1 not in rules]


def names_in(cell: str) -> list[str]:
    return _CODE.findall(cell)


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    """benchmarks/reference.py, which reads keys, types and defaults from the signatures."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "benchmarks" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["reference"]


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


@pytest.mark.parametrize("block", [b for b in blocks("yaml") if not b.name], ids=str)
def test_experiments_in_the_documents_are_accepted(block: Block, reference: ModuleType) -> None:
    """Fragments are put into the shortest experiment; data that are not here are replaced."""
    given = plain_yaml.parse(block.text)
    data = given if "budgets" in given else {**plain_yaml.parse(reference.SHORTEST), **given}
    if isinstance(data["data"], dict) and not Path(data["data"].get("path", ROOT)).exists():
        config.part(data["data"], "data", "data")
        data["data"] = "digits"
    assert materials(config.experiment(data)).space.genes


def test_there_are_complete_experiments() -> None:
    complete = [b.page.name for b in blocks("yaml") if "budgets" in plain_yaml.parse(b.text)]
    assert {"README.md", "experiment.md", "extending.md"} <= set(complete)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of docs/extending.md in it; what is imported from it is forgotten afterwards."""
    files = [block for block in blocks() if block.page.name == "extending.md" and block.name]
    for block in files:
        path = tmp_path / block.name
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    known, models = set(sys.modules), dict(features.FEATURES)
    yield tmp_path
    for name in set(sys.modules) - known:
        if Path(getattr(sys.modules[name], "__file__", None) or ROOT).parent == tmp_path:
            del sys.modules[name]
    for name in set(features.FEATURES) - set(models):
        del features.FEATURES[name]  # type: ignore[attr-defined]


def extending_commands() -> list[list[str]]:
    found = [block for block in blocks("console") if block.page.name == "extending.md"]
    return [shlex.split(line, comments=True)[1:] for block in found for line in block.text.splitlines()]


def test_the_examples_of_extending_work(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scripts = [b for b in blocks("python") if b.page.name == "extending.md" and not b.name]
    assert scripts
    for block in scripts:
        exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
    commands = [command for command in extending_commands() if command[0] != "run"]
    assert {command[0] for command in commands} == {"check", "devices"}
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err


def test_the_latency_model_of_extending_predicts_what_its_features_say(workplace: Path) -> None:
    from hardware_profiles import Target, load

    made = importlib.import_module("traffic").Traffic(load("my_board"), Target("my_board", "onnxruntime"))
    networks = [toy((1, 8, 8), 10).decode([0] * len(toy((1, 8, 8), 10).genes)), toy((1, 16, 16), 10).decode([0] * 9)]
    small, large = made.predict(networks).total_s
    assert 0 < small < large
    assert made.fit(networks, [[3 * small], [3 * large]]).predict(networks).total_s == pytest.approx(
        [3 * small, 3 * large], rel=0.2
    )


@pytest.mark.slow
def test_the_experiment_of_extending_runs_and_leaves_the_files_that_are_described(workplace: Path) -> None:
    (command,) = [command for command in extending_commands() if command[0] == "run"]
    done = subprocess.run([sys.executable, "-P", "-m", "nas", *command], capture_output=True, text=True, check=False)
    # One of its budgets is for a device that is not here.
    assert done.returncode == 3, done.stderr
    run = workplace / "runs" / "bars"
    verified = json.loads((run / "verify.json").read_text())
    assert {record["name"]: record["kept"] for record in verified["winners"]} == {"here": True, "there": None}
    described = " ".join(name for text in sections("run_folder.md").values() for name in names_in(text))
    described = re.sub(r"exit_\d+", "exit_0", described)
    for path in run.rglob("*"):
        name = re.sub(r"exit_\d+", "exit_0", path.name)
        name = "optimiser/NAME.json" if path.parent.name == "optimiser" else name
        if path.is_file():
            assert name in described or name.startswith("latency_model-"), path


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
        ("front.json", keys_written("nas.stages.search", "_front")),
        ("optimiser", keys_written("nas.stages.optimise", "_for_budget", "_record")),
        ("environment.json", keys_written("nas.run.context", "open_context")),
    ],
)
def test_the_fields_of_files_are_described(heading: str, wanted: set[str]) -> None:
    assert fields_described(heading) == wanted


def test_the_fields_of_verify_json_are_described() -> None:
    written = (
        keys_written("nas.stages.verify", "measure_winners", "_judged", "_unmeasured", "_common")
        | keys_written("nas.stages.test", "test_winners", "_test", "_parity", "_tvm")
        | keys_written("nas.stages.winners", "_attempt")
        | keys_written("nas.stages.export", "budget_record")
    )
    text = sections("run_folder.md")["verify.json"]
    assert written <= {part for name in names_in(text) for part in re.split(r"\W+", name)}
    parts = {part for name in fields_described("verify.json") for part in re.findall(r"\w+", name)}
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
    for link in _LINK.findall(_FENCE.sub("", page.read_text())):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", target.read_text()), re.MULTILINE)
            assert anchor in map(_slug, headings), link


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
    for code in _CODE.findall(_FENCE.sub("", page.read_text())):
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


def test_commands_are_understood() -> None:
    """Whole command lines in blocks; of those within a sentence the command alone, as they are often cut short."""
    lines = [line for block in blocks() for line in block.text.splitlines() if line.startswith("nas ")]
    assert lines
    for line in lines:
        _parser().parse_args(shlex.split(line, comments=True)[1:])
    known = set(_parser()._subparsers._group_actions[0].choices) | {"--help", "--version"}  # type: ignore
    for page in PAGES:
        for code in _CODE.findall(_FENCE.sub("", page.read_text())):
            if code.startswith("nas "):
                assert code.split()[1] in known, (page.name, code)


def test_the_program_in_the_readme_runs_a_winner(tmp_path: Path) -> None:
    """In a folder as `export` leaves it, by the files that lie there."""
    (block,) = [block for block in blocks("python") if block.page.name == "README.md"]
    compile(block.text, str(block), "exec")
    space = toy((1, 8, 8), 3)
    network = space.decode([len(gene.options) - 1 for gene in space.genes])
    assert len(network.exits) == 2
    weights = measurement.random_weights(network, 0)
    to_onnx(network, weights, tmp_path / "model.onnx", batch=None)
    files = export_segments(network, weights, tmp_path, 1)
    scripts = manifest.add_scripts(tmp_path)
    record = Preprocessing((8, 8), 1, (0.5,), (0.25,), 1 / 255, ("ant", "bee", "cow")).to_dict()
    for threshold, answering in ((0.0, 0), (None, 1)):
        described = manifest.Manifest(network.key, "model.onnx", files, (threshold,), record)
        manifest.write(tmp_path, described, scripts)
        np.save(tmp_path / "image.npy", np.random.default_rng(0).integers(0, 255, (1, 8, 8)).astype(np.uint8))
        done = subprocess.run(
            [sys.executable, "-c", block.text], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(rf"(ant|bee|cow) at exit {answering}\n", done.stdout)
