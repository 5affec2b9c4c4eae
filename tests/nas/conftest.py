from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.devices.timing import measuring
from nas.search import winner_readings
from tests.nas.small_runs import SMALL, Command, Outcome, write


def without_waiting(patch: pytest.MonkeyPatch) -> None:
    """No rest between the rounds of a verification, and a short look at a machine that other tests have looked at.

    How well readings repeat is the subject of tests/nas/devices/timing, and of one test of verify.
    """
    patch.setattr(winner_readings, "GAP_S", 0.0)
    patch.setattr(measuring, "_LOOK_S", 0.02)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements of these tests do not wait."""
    without_waiting(monkeypatch)


@pytest.fixture
def nas(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the small experiment that has come to its end; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        without_waiting(patch)
        assert main(["run", write(folder, SMALL), "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"
