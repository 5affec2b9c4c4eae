"""The wheel: every file of the four packages, the command, the licence, and nothing else."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nas.small_runs import SMALL, write

ROOT = Path(__file__).parents[1]
PACKAGES = ("hardware_profiles", "search_spaces", "latency_models", "nas")
#: An environment that lends nothing of this one's.
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON") and key != "VIRTUAL_ENV"}
LEFT_BEHIND = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel built from a copy of this tree by its own build backend, without network."""
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_BEHIND, symlinks=True)
    program = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def held(wheel: zipfile.ZipFile) -> list[str]:
    return [name for name in wheel.namelist() if not name.endswith("/")]


def own_files() -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    missing = own_files() - set(held(wheel))
    assert not missing, "a folder needs an __init__.py, a data file a pattern in setup.cfg"


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    extra = [name for name in set(held(wheel)) - own_files() if not name.split("/")[0].endswith(".dist-info")]
    assert not extra


def test_the_packages_say_that_they_are_typed_and_carry_their_data(wheel: zipfile.ZipFile) -> None:
    names = held(wheel)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert sum(name.startswith("hardware_profiles/devices/") and name.endswith(".yaml") for name in names) >= 20


def _metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = [file for file in held(wheel) if file.endswith(f".dist-info/{name}")]
    return wheel.read(path).decode()


def test_the_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    points = configparser.ConfigParser()
    points.read_string(_metadata(wheel, "entry_points.txt"))
    assert dict(points["console_scripts"]) == {"nas": "nas.__main__:process"}


def test_the_metadata_names_version_licence_and_what_is_needed(wheel: zipfile.ZipFile) -> None:
    from nas import __version__

    metadata = _metadata(wheel, "METADATA").splitlines()
    assert f"Version: {__version__}" in metadata
    assert {"License-File: LICENSE", "License-File: NOTICE"} <= set(metadata)
    assert any(line.startswith("Requires-Dist: numpy") for line in metadata)
    assert not any(line.startswith("Requires-Dist: pytest") and "extra" not in line for line in metadata)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_runs_where_nothing_else_is_installed(version: str, wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """With what pip takes today, not what was pinned, and away from the sources."""
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no Python {version} here")
    shutil.copytree(Path(str(wheel.filename)).parent, tmp_path / "wheel", ignore=shutil.ignore_patterns("source"))
    (path,) = (tmp_path / "wheel").glob("*.whl")
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
    inside = tmp_path / "venv" / "bin"
    subprocess.run([str(inside / "python"), "-m", "pip", "install", "--quiet", str(path)], check=True, cwd=tmp_path)
    experiment = write(tmp_path, SMALL)
    for command in (["--help"], ["check", experiment], ["run", experiment, "--out", str(tmp_path / "run")]):
        done = subprocess.run(
            [str(inside / "nas"), *command], cwd=tmp_path, capture_output=True, text=True, check=False, env=CLEAN
        )
        assert done.returncode == 0, done.stderr
    assert "kept" in done.stdout
