"""Who may import whom, what may be imported when, and that every name in a registry leads somewhere."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: For each package, those of ours that it may import.
MAY_IMPORT = {
    "hardware_profiles": {"hardware_profiles"},
    "search_spaces": {"search_spaces"},
    "latency_models": {"latency_models", "hardware_profiles", "search_spaces"},
    "nas": {"nas", "latency_models", "hardware_profiles", "search_spaces"},
}
#: Beside Python itself, all that the first three packages may import when they are imported.
LIGHT = {"numpy", "scipy", "yaml"}
REFERENCE = re.compile(r"([a-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*")

FILES = [(package, path) for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def imported(tree: ast.AST, path: Path) -> Iterator[tuple[str, int]]:
    """Top-level names of the modules that are imported anywhere below a node, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                # One dot is the file's own folder; it must not climb out of its package.
                parent = path.relative_to(ROOT).parts[: -node.level]
                yield (parent[0] if parent else "outside the package", node.lineno)
            else:
                yield ((node.module or "").partition(".")[0], node.lineno)


def when_imported(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported: none in functions, none for type checkers alone."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        for field in ("body", "orelse", "finalbody"):
            pending += getattr(node, field, [])
        for handler in getattr(node, "handlers", []):
            pending += handler.body
        yield node


def registries() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Every dict literal at module level whose values are all `module:name`: file, variable, content."""
    for _, path in FILES:
        for node in ast.parse(path.read_text()).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            value = getattr(node, "value", None)
            if isinstance(target, ast.Name) and isinstance(value, ast.Dict) and value.values:
                texts = [v.value for v in value.values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
                if len(texts) == len(value.values) and all(REFERENCE.fullmatch(text) for text in texts):
                    yield str(path.relative_to(ROOT)), target.id, ast.literal_eval(value)


REGISTRIES = list(registries())


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_nobody_imports_upwards(package: str) -> None:
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] | {"outside the package", "tests", "benchmarks"}
    paths = [path for owner, path in FILES if owner == package]
    assert paths
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for name, line in imported(ast.parse(path.read_text()), path)
        if name in forbidden
    ]
    assert not found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_nobody_names_a_module_upwards(package: str) -> None:
    """An import by way of a registry's text is an import too."""
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} names {node.value}"
        for owner, path in FILES
        if owner == package
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if (match := REFERENCE.fullmatch(node.value)) and match[1].partition(".")[0] in forbidden
    ]
    assert not found


@pytest.mark.parametrize("package", ["hardware_profiles", "search_spaces", "latency_models"])
def test_the_lower_packages_load_nothing_heavy(package: str) -> None:
    allowed = LIGHT | MAY_IMPORT[package] | set(sys.stdlib_module_names)
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for owner, path in FILES
        if owner == package
        for statement in when_imported(ast.parse(path.read_text()))
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name, line in imported(statement, path)
        if name not in allowed
    ]
    assert not found


def test_asking_for_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nas", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "nas" in loaded and "argparse" in loaded
    heavy = {
        "numpy",
        "scipy",
        "sklearn",
        "jax",
        "pydantic",
        "yaml",
        "onnx",
        "onnxruntime",
        "tvm",
        "flax",
        "PIL",
        "rich",
    }
    assert not heavy & {name.partition(".")[0] for name in loaded}
    assert done.stdout.startswith("usage: nas ")


def test_there_are_registries() -> None:
    assert {"SPACES", "SEARCHERS", "DATASETS", "LATENCY_MODELS"} <= {name for _, name, _ in REGISTRIES}


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        pytest.param(name, reference, id=f"{variable}-{name}")
        for _, variable, content in REGISTRIES
        for name, reference in content.items()
    ],
)
def test_every_entry_of_a_registry_leads_to_something_callable(name: str, reference: str) -> None:
    module, _, attribute = reference.partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))
