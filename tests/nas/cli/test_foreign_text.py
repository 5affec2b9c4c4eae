"""Text of the user's is shown as it stands: neither markup nor emoji is read into it."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import hardware_profiles
import nas as package
from tests.nas.cli.test_latency_command import arrays
from tests.nas.small_runs import SMALL, Command, write

#: An end of nothing, which rich refuses; a style, which it swallows; an emoji, which it replaces; a lone backslash.
NAMES = ("Board [/rev2]", "Board [bold]", "Board :warning:", "Board [rev 2]\\")


def board(**changes: str) -> str:
    """A shipped profile as one of the user's own, with other words in it."""
    text = (Path(hardware_profiles.__file__).parent / "devices" / "rpi5.yaml").read_text()
    for key, value in {"id": "my_board", "aliases": "[]", **changes}.items():
        text, found = re.subn(rf"^{key}: .*$", lambda _, line=f"{key}: {value}": line, text, flags=re.MULTILINE)
        assert found == 1, key
    return text


@pytest.mark.parametrize("name", NAMES)
def test_devices_with_such_names_are_listed_and_shown(name: str, nas: Command) -> None:
    Path("hardware_profiles").mkdir()
    Path("hardware_profiles/my_board.yaml").write_text(board(name=f"'{name}'"))
    listed = nas("devices")
    assert listed.code == 0 and f" {name} " in listed.out
    shown = nas("devices", "my_board")
    assert shown.code == 0 and shown.out.startswith(f"{name} (my_board, ")


def test_the_source_of_a_number_is_shown_whole(nas: Command) -> None:
    cited = "data sheet [rev b], page 7"
    text = board()
    (key,) = re.findall(r"^clock_hz: .*source: ([\w-]+)", text, re.MULTILINE)
    Path("my_board.yaml").write_text(re.sub(rf"^  {key}: .*$", f"  {key}: '{cited}'", text, flags=re.MULTILINE))
    assert cited in nas("devices", "my_board.yaml").out


@pytest.mark.parametrize("name", NAMES)
def test_targets_with_such_names_are_judged(name: str, nas: Command) -> None:
    np.savez("table.npz", **arrays(devices=np.array(["a", "b", name, "d", "e"])))
    pool = ("--pool", "60")
    done = nas("latency", "eval", "table.npz", "--sources", "a,b", "--targets", name, "--seeds", "1", *pool)
    assert done.code == 0 and f" {name} " in done.out
    done = nas("latency", "fit", "table.npz", "--sources", f"a,{name}", "--out", "p.npz", *pool)
    assert done.code == 0 and f"devices: a, {name}; use it" in done.out


def test_an_experiment_with_such_a_path_is_checked(nas: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine [bold]"
    folder.mkdir()
    path = write(folder, SMALL)
    assert nas("check", path).out.startswith(f"ok {path}: ")


def test_a_run_in_such_a_folder_says_where_its_report_is(finished: Path, nas: Command) -> None:
    shutil.copytree(finished, "mine [bold]")
    assert "report: mine [bold]/report.html" in nas("report", "mine [bold]").out


def printing(tree: ast.AST) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("print", "status")
        and ast.unparse(node.func.value).endswith("console")
    ]


def test_nobody_below_the_command_line_prints() -> None:
    """Events have text, which is shown as it stands; rich, which reads markup, is the command line's alone."""
    root = Path(package.__file__).parent
    files = [path for path in sorted(root.rglob("*.py")) if path.relative_to(root).parts[0] != "cli"]
    trees = {path.relative_to(root): ast.parse(path.read_text()) for path in files if path.parent.name != "bundle"}
    assert (
        len(trees) > 100 and {name: list(printing(tree)) for name, tree in trees.items() if list(printing(tree))} == {}
    )
    rich = [name for name, tree in trees.items() for node in ast.walk(tree) if imports_rich(node)]
    assert rich == []
    assert any(imports_rich(node) for node in ast.walk(ast.parse((root / "cli" / "watching.py").read_text())))


def imports_rich(node: ast.AST) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return any(name.partition(".")[0] == "rich" for name in names)
