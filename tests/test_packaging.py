"""The wheel: every file of the four packages, the command, the licence, and nothing else."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hardware_profiles", "search_spaces", "latency_models", "nas")
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
