"""Every command that README, CONTRIBUTING and docs/*.md show, run by a shell as it stands there.

What is run is read from the pages. `kinds_of_commands.KINDS` says of each where it runs and what must come of it; a
command of no kind fails. `nas`, `python` and `pip` are those of this interpreter and this tree.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image

from nas.cli.main import parser
from tests.documents import ROOT, CodeBlock, Shown, blocks, shown, write_files
from tests.nas.cli.kinds_of_commands import KINDS, REDUCED, bare, kind_of, kinds_of
from tests.nas.cli.test_latency_command import arrays

ALL = shown()


def in_order(each: Shown) -> int:
    return min(KINDS.index(kind) for command in each.commands for kind in kinds_of(command) if kind.place)


#: Commands of no kind are reported by a test of their own.
KNOWN = [each for each in ALL if all(map(kinds_of, each.commands))]
RUNNABLE = sorted((each for each in KNOWN if any(kind_of(command).place for command in each.commands)), key=in_order)


def of_readme(language: str) -> CodeBlock:
    (block,) = [block for block in blocks(language) if block.page.name == "README.md"]
    return block


# Where commands run.


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def door_camera(tmp_path: Path) -> Path:
    """The experiment of README, and the photos that its comment describes."""
    (tmp_path / "door_camera.yaml").write_text(of_readme("yaml").text)
    rng = np.random.default_rng(0)
    for part, photos in (("train", 80), ("test", 10)):
        for kind in ("cat", "person"):
            folder = tmp_path / "photos" / part / kind
            folder.mkdir(parents=True)
            for number in range(photos):
                pixels = rng.integers(0, 256, (80, 96, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return tmp_path


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: what one command has measured, the next need not."""
    return tmp_path_factory.mktemp("profiled")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    np.savez(tmp_path / "table.npz", **arrays())
    return tmp_path


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    write_files("extending.md", tmp_path)
    return tmp_path


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text("from search_spaces.toy import toy as space\n")
    return tmp_path


@pytest.fixture
def winner(tmp_path: Path, finished: Path) -> Path:
    """The folder of a winner, one image and several of them beside it."""
    images = np.random.default_rng(0).integers(0, 17, (3, 1, 8, 8)).astype(np.uint8)
    folder = tmp_path / "winner"
    shutil.copytree(min(path for path in (finished / "winners").iterdir()), folder)
    np.save(folder / "images.npy", images)
    np.save(folder / "image.npy", images[0])
    return folder


def copied(folder: Path, tools: Path) -> Path:
    """A checkout in which there is nothing left to install."""
    left_behind = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
    shutil.copytree(ROOT, folder, ignore=left_behind, symlinks=True)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(tools)
    for mark in (".installed", ".dev"):
        (folder / ".venv" / mark).touch()
    return folder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Path:
    return copied(tmp_path_factory.mktemp("checkout") / "hwnas", tools)


@pytest.fixture
def unused_checkout(checkout: Path) -> Path:
    shutil.rmtree(checkout / "runs", ignore_errors=True)
    return checkout


@pytest.fixture
def demo(checkout: Path, tools: Path) -> Path:
    """A checkout with a finished quickstart, also where this test is run alone."""
    (command,) = [command for each in ALL for command in each.commands if bare(command) == "make demo"]
    carry_out(command, checkout, tools, REDUCED)
    return checkout


# How they run.


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs: `nas` of this tree, which adds $REDUCED to a run; `python` without this tree."""
    folder = tmp_path_factory.mktemp("bin")
    python = shlex.quote(sys.executable)
    programs = {
        "nas": 'case "$1" in run) set -- "$@" $REDUCED ;; esac\n'
        f"exec {python} -P -c 'from nas.__main__ import process; process()' \"$@\"\n",
        "python": f'unset PYTHONPATH\nexec {python} "$@"\n',
        "pip": f'unset PYTHONPATH\nexec {python} -m pip "$@"\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    return folder


def carry_out(command: str, folder: Path, tools: Path, reduced: str) -> None:
    """Run a command and check that it says so if it fails, and leaves what it should."""
    kind = kind_of(command)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PIP_"))},
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "REDUCED": reduced,
        **kind.environment,
    }
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert done.stdout, command
    assert (folder / kind.leaves).exists(), command


def test_every_command_is_of_one_kind() -> None:
    found = {f"{each}: {command}": len(kinds_of(command)) for each in ALL for command in each.commands}
    assert {name: count for name, count in found.items() if count != 1} == {}, "say in KINDS how they are run"


def test_every_kind_is_shown() -> None:
    kinds = {kind.pattern for each in ALL for command in each.commands for kind in kinds_of(command)}
    assert {kind.pattern for kind in KINDS} == kinds
    assert 0 < sum(map(is_long, RUNNABLE)) < len(RUNNABLE) / 4
    ways = [(bool(kind.place), kind.name, kind.placeholders, bool(kind.left_out)) for kind in KINDS]
    assert {sum(way) for way in ways} == {1}


#: Runs of half a minute; others of the kind are carried out in the fast suite.
_LONG: Final = (
    r"nas profile my_board( --networks 10 .*)?",
    r"nas run experiments/quickstart\.yaml --out runs/tighter .*",
)


def is_long(each: Shown) -> bool:
    return any(re.fullmatch(pattern, bare(command)) for pattern in _LONG for command in each.commands)


@pytest.mark.parametrize(
    "each",
    [pytest.param(each, marks=pytest.mark.slow) if is_long(each) else each for each in RUNNABLE],
    ids=str,
)
def test_commands_run_as_they_stand(each: Shown, tools: Path, request: pytest.FixtureRequest) -> None:
    for command in each.commands:
        if place := kind_of(command).place:
            for program in ("make", "pip"):
                if command.startswith(program) and not _is_here(program):
                    pytest.skip(f"{program} is missing")
            carry_out(command, request.getfixturevalue(place), tools, REDUCED)


def _is_here(program: str) -> bool:
    return importlib.util.find_spec("pip") is not None if program == "pip" else shutil.which(program) is not None


@pytest.mark.slow
@pytest.mark.parametrize("quickstart", ["make demo", r"nas run experiments/quickstart\.yaml"])
def test_the_quickstart_runs_without_changes(quickstart: str, tools: Path, tmp_path: Path) -> None:
    """Installing is left out of `make demo` here too."""
    (command,) = [c for each in ALL for c in each.commands if re.fullmatch(quickstart, bare(c))]
    carry_out(command, copied(tmp_path / "hwnas", tools), tools, reduced="")


def understood(words: list[str]) -> bool:
    try:
        parser().parse_args(words)
    except SystemExit as stop:
        return stop.code == 0
    return True


@pytest.mark.parametrize("command", [c for each in KNOWN for c in each.commands if kind_of(c).placeholders])
def test_commands_with_placeholders_are_understood(command: str) -> None:
    assert understood(shlex.split(command)[1:])


@pytest.mark.parametrize("command", [c for each in KNOWN for c in each.commands if kind_of(c).name])
def test_names_are_those_of_commands_that_need_more(command: str) -> None:
    """One that is whole without arguments has to be run instead."""
    words = shlex.split(command)[1:]
    assert understood([*words, "--help"]) and not understood(words)


def test_the_program_of_the_readme_runs_in_the_folder_of_a_winner(winner: Path, tools: Path) -> None:
    done = subprocess.run(
        [str(tools / "python"), "-c", of_readme("python").text], cwd=winner, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d at exit [01]\n", done.stdout)
