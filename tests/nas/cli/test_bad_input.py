"""Malformed input ends with exit code 2 and one line that helps, and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.nas.cli.bad_inputs import KINDS, Prepare, bare_number, code_in_a_tag, corrupt_image
from tests.nas.small_runs import Command, hashes, small, write


@pytest.mark.parametrize(("prepare", "message"), KINDS, ids=lambda x: x.__name__ if callable(x) else "")
def test_malformed_input_is_refused_in_one_line_and_nothing_is_written(
    prepare: Prepare, message: str, nas: Command, tmp_path: Path
) -> None:
    experiment = write(tmp_path, prepare(tmp_path))
    before = hashes(tmp_path)
    assert message in nas("run", experiment, "--out", "run").error
    assert hashes(tmp_path) == before
    assert not Path("run").exists() and not Path("marker").exists()
    assert message in nas("check", experiment).error


def test_a_file_that_is_not_text_is_refused(nas: Command) -> None:
    Path("x.yaml").write_bytes(bytes(range(256)))
    assert "x.yaml: this is not a text file" in nas("run", "x.yaml", "--out", "run").error
    Path("x.yaml").write_bytes(b"name: \0\n")
    assert "x.yaml: " in nas("run", "x.yaml", "--out", "run").error
    assert not Path("run").exists()


def test_a_key_with_a_line_break_does_not_break_the_message(nas: Command, tmp_path: Path) -> None:
    assert "has no key" in nas("run", write(tmp_path, small(**{"a\nb": 1}))).error


def test_an_experiment_that_cannot_be_read_is_refused(nas: Command) -> None:
    assert "there is no experiment file 'nothing.yaml'" in nas("run", "nothing.yaml").error
    Path("folder.yaml").mkdir()
    assert "there is no experiment file 'folder.yaml'" in nas("run", "folder.yaml").error


@pytest.mark.parametrize("prepare", [code_in_a_tag, bare_number, corrupt_image], ids=lambda x: x.__name__)
def test_a_process_of_its_own_says_the_same(prepare: Prepare, tmp_path: Path) -> None:
    experiment = write(tmp_path, prepare(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "nas", "run", experiment, "--out", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("nas: error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists() and not (tmp_path / "marker").exists()
