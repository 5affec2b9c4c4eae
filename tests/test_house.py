"""The house stands as it was planned: who knows whom, one place for each name, and nothing too large to read."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

from tests.house import (
    ALONE,
    FILES,
    MODULES,
    PACKAGES,
    ROOT,
    branches,
    circles,
    imported,
    imports,
    of_package,
    parameters,
    parsed,
    room_of,
    rooms,
    shown,
    texts,
)

#: Where the names of a run's files stand, and of those of an exported network.
NAMES = (ROOT / "nas" / "run" / "layout.py", ROOT / "nas" / "deploy" / "names.py")
LONGEST, MOST_PARAMETERS, MOST_LONG_SIGNATURES, MOST_LOOSE = 300, 6, 8, 6
SOURCES = [path for path in FILES if "tests" not in path.parts]


def test_no_stage_imports_a_stage() -> None:
    stages = {module for module in MODULES if module.startswith("nas.stages.")}
    assert len(stages) > 5
    found = [
        f"{shown(MODULES[stage])}:{line} imports {name}"
        for stage in sorted(stages - {"nas.stages.order"})
        for name, line in imported()[stage].items()
        if name in stages
    ]
    assert not found


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = circles({module: set(names) for module, names in imported().items()})
    assert not [
        f"{shown(MODULES[module])}:{line} imports {name}"
        for group in found
        for module in group
        for name, line in imported()[module].items()
        if name in group
    ]


def test_no_rooms_import_each_other_in_a_circle() -> None:
    known = rooms()
    found = [
        f"{room} -> {other}: {shown(MODULES[module])}:{line} imports {name}"
        for group in circles(known)
        for room in group
        for other in sorted(known[room] & {*group})
        for module, names in imported().items()
        if room_of(module) == room
        for name, line in names.items()
        if room_of(name) == other
    ]
    assert not found, "\n".join(found)


def test_imports_are_found_at_any_depth_and_circles_too() -> None:
    """The rules above can fail."""
    text = """
    from typing import TYPE_CHECKING
    import nas.errors
    if TYPE_CHECKING:
        from nas.run.context import Context
    def f():
        from nas.run import layout
        if f:
            from nas.run.folder import RunFolder
    """
    tree = ast.parse("if True:\n" + text)
    assert [name for name, _ in imports(tree)] == ["nas.errors", "nas.run.context", "nas.run.layout", "nas.run.folder"]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_each_file_name_stands_in_one_module() -> None:
    places = {path: {text for text, _ in texts(parsed(path)) if "." in text and " " not in text} for path in NAMES}
    assert "front.json" in places[NAMES[0]] and "manifest.json" in places[NAMES[1]]
    assert not places[NAMES[0]] & places[NAMES[1]]
    names = set().union(*places.values())
    found = [
        f"{shown(path)}:{line} says {text!r}"
        for path in of_package("nas")
        if path not in (*NAMES, ALONE)
        for text, line in texts(parsed(path))
        if text in names
    ]
    assert not found, "\n".join(found)


def test_few_functions_have_many_parameters() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name}: {parameters(node)}"
        for path in of_package(*PACKAGES)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and parameters(node) > MOST_PARAMETERS
    ]
    assert len(long) <= MOST_LONG_SIGNATURES, "\n".join(long)


def test_no_file_is_too_long_to_read() -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in FILES}
    long = [f"{shown(path)}: {count} lines" for path, count in lines.items() if count > LONGEST]
    assert not long, "\n".join(long)


def test_few_files_stand_in_no_room() -> None:
    loose = sorted(path.name for path in (ROOT / "nas").glob("*.py"))
    assert "__init__.py" in loose and len(loose) <= MOST_LOOSE, loose


def test_the_drawing_of_the_rooms_is_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "benchmarks" / "rooms.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    drawn = ROOT / "docs" / "rooms.svg"
    assert drawn.is_file() and drawn.read_text(encoding="utf-8") == script.drawing(script.rooms()), (
        f"draw it again: {Path(sys.executable).name} benchmarks/rooms.py"
    )


# Budgets.


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_no_source_branches_on_the_kind_of_a_budget(path: Path) -> None:
    assert not list(branches(parsed(path)))


@pytest.mark.parametrize(
    "line",
    [
        "worst = budget.of == 'worst_case'",
        "if self.winner.budget.of != text: pass",
        "first = [w for w in winners if w['budget']['of'] in ('worst_case', 'x')]",
        "how = {'worst_case': 1, 'expected': 2}[of]",
        "how = words.get(budget.of, '')",
        "how = words['expected']",
        "match budget.of:\n    case _: pass",
        "match of:\n    case 'expected': pass",
    ],
)
def test_a_branch_would_be_found(line: str) -> None:
    assert list(branches(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    ["Budget(1e-3, 'expected')", "{'of': 'expected'}", "if slot < trial.of: pass", "of = given.get('of', Budget.of)"],
)
def test_naming_a_kind_is_no_branch(line: str) -> None:
    assert not list(branches(ast.parse(line)))


def test_there_is_a_class_to_leave_out() -> None:
    """The rule would be empty if budgets were described elsewhere."""
    inside = [
        node for path in SOURCES for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and node.name == "Budget"
    ]  # fmt: skip
    assert len(inside) == 1 and any(isinstance(node, ast.Match) for node in ast.walk(inside[0]))
