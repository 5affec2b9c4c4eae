"""The code as the tests of the house see it: modules, who imports whom, circles, and branches on kinds of budgets."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import get_args

from nas.config.budget import BudgetOf

ROOT = Path(__file__).parents[1]
PACKAGES = ("nas", "search_spaces", "latency_models", "hardware_profiles")
#: Every Python file of ours.
FILES = tuple(path for folder in (*PACKAGES, "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py")))
#: It is copied into bundles, where it stands alone.
ALONE = ROOT / "nas" / "deploy" / "bundle" / "run.py"
KINDS: tuple[BudgetOf, ...] = get_args(BudgetOf)

Graph = Mapping[str, set[str]]


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path) -> str:
    """A file's name for people."""
    return path.relative_to(ROOT).as_posix()


def of_package(*packages: str) -> list[Path]:
    """The files below some top folders."""
    return [path for path in FILES if path.relative_to(ROOT).parts[0] in packages]


def module_of(path: Path) -> str:
    """The dotted name of a file's module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in of_package(*PACKAGES) if path != ALONE}


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Modules of ours that are imported anywhere below a node, with the line, those for type checkers too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                name = inner if inner in MODULES else node.module or ""
                if name in MODULES:
                    yield name, node.lineno
        else:
            yield from imports(node)


@cache
def imported() -> dict[str, dict[str, int]]:
    """For each module what it imports, and in which line first."""
    found: dict[str, dict[str, int]] = {}
    for module, path in MODULES.items():
        found[module] = {}
        for name, line in imports(parsed(path)):
            if name != module:
                found[module].setdefault(name, line)
    return found


def room_of(module: str) -> str | None:
    """The folder below `nas` that a module stands in; None for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "nas" and len(parts) > 1 and (ROOT / "nas" / parts[1]).is_dir() else None


def rooms() -> dict[str, set[str]]:
    """What each room imports."""
    edges: dict[str, set[str]] = {}
    for module, names in imported().items():
        if (room := room_of(module)) is not None:
            edges.setdefault(room, set()).update(filter(None, map(room_of, names)))
    return {room: others - {room} for room, others in edges.items()}


def circles(edges: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other."""
    reach = {node: _reached(edges, node) for node in edges}
    inside = [node for node in edges if node in reach[node]]
    groups = {frozenset(other for other in reach[node] if node in reach.get(other, ())) for node in inside}
    return sorted(sorted(group) for group in groups)


def _reached(edges: Graph, node: str) -> set[str]:
    """What can be reached from a node, itself only if there is a way back."""
    found: set[str] = set()
    pending = list(edges[node])
    while pending:
        if (other := pending.pop()) not in found:
            found.add(other)
            pending += edges.get(other, ())
    return found


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many parameters a function has, `self` and `cls` not counted."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args)]
    first = names[:1] in (["self"], ["cls"])
    return len(names) - first + len(given.kwonlyargs) + (given.vararg is not None) + (given.kwarg is not None)


def texts(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Whole texts below a node with their lines: no docstrings, and no pieces of formatted texts."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.JoinedStr):
            for piece in node.values:
                if isinstance(piece, ast.FormattedValue):
                    yield from texts(piece)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.value, node.lineno
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield from texts(node)


def branches(tree: ast.AST) -> Iterator[int]:
    """Lines outside the class Budget that compare, match or look up a kind by its name, or a budget's `of`."""

    def told(node: ast.AST) -> bool:
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return any(told(each) for each in node.elts)
        kind = isinstance(node, ast.Constant) and node.value in KINDS
        return kind or (ast.unparse(node).endswith(("budget.of", "budget['of']", "Budget.of")))

    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and node.name == "Budget":
            continue
        asked: list[ast.AST | None] = []
        match node:
            case ast.Compare():
                asked = [node.left, *node.comparators]
            case ast.Match():
                asked = [node.subject]
            case ast.MatchValue():
                asked = [node.value]
            case ast.Dict():
                asked = [*node.keys]
            case ast.Subscript():
                asked = [node.slice] if not ast.unparse(node.value).endswith("Literal") else []
            case ast.Call(func=ast.Attribute(attr="get" | "startswith" | "endswith" | "index")):
                asked = [node.func.value, *node.args[:1]]  # what else is given is no question but a default
        if any(each is not None and told(each) for each in asked):
            yield node.lineno if isinstance(node, ast.expr | ast.stmt) else 0
        yield from branches(node)
