"""What is sent to boards, to time networks or to run them, needs Python 3.8 and numpy, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from nas.deploy.manifest import SCRIPTS

ROOT = Path(__file__).parents[1]
#: What takes readings. Bounds of them are computed on the host.
TIMING = [
    *(ROOT / "nas" / "devices" / "timing" / f"{name}.py"
      for name in ("cascades", "clocks", "kernel", "measuring", "plan", "probe", "readings", "rounds", "single_calls")),
    ROOT / "nas" / "tolerances.py",
]  # fmt: skip
#: What a winner's folder has in it; the runtime is imported there too.
BUNDLE = [*SCRIPTS.values(), ROOT / "nas" / "exits" / "policies.py"]


def imported(path: Path) -> set[str]:
    """The modules that are imported when the file is run, or when anything in it is called."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", [*TIMING, *BUNDLE], ids=lambda path: path.name)
def test_python_3_8_is_enough(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from vermin import main; main()", "-t=3.8-", "--violations", "--no-tips", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", TIMING, ids=lambda path: path.name)
def test_what_times_imports_numpy_and_itself(path: Path) -> None:
    allowed = {f"nas.devices.timing.{other.stem}" for other in TIMING} | {"nas.tolerances", "numpy"}
    others = {name for name in imported(path) if name.partition(".")[0] not in sys.stdlib_module_names}
    assert others <= allowed


def test_newer_python_is_found(tmp_path: Path) -> None:
    """The check can fail, also where only a name or an argument is new."""
    for number, text in enumerate(
        ["zip([], strict=True)", "from functools import cache", "import dataclasses\ndataclasses.dataclass(slots=True)"]
    ):
        path = tmp_path / f"{number}.py"
        path.write_text(text + "\n")
        with pytest.raises(AssertionError):
            test_python_3_8_is_enough(path)


def test_it_times_where_nothing_else_is_installed() -> None:
    code = (
        "import sys\n"
        "for name in ('scipy', 'yaml', 'jax', 'onnx', 'onnxruntime', 'rich', 'hardware_profiles', 'search_spaces'):\n"
        "    sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from nas.devices.timing.measuring import measure\n"
        "from nas.devices.timing.plan import Plan\n"
        "readings = measure({'sum': lambda: sum(range(1000))}, Plan(blocks=3, block_s=0.002, warm_up_s=0.001))\n"
        "print(readings['sum'].value_s)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < 0.1
