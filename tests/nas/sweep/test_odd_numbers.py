"""Numbers that are none, or that nothing counts: one line, and nothing written, whichever key they stand at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.nas.small_runs import Command, hashes, write
from tests.nas.sweep.small_sweeps import HOPELESS, write_sweep

#: As they stand in a file, or behind `--set`; the number in hexadecimal has more digits than Python writes.
ODD = (
    f"1{400 * '0'}", f"-1{400 * '0'}", f"0x{5000 * 'f'}", 5000 * "9",
    ".inf", "-.inf", ".nan", "1e999", "-1", "true", "many", "[1]", "{a: 1}", "1.5",
)  # fmt: skip
#: Keys of a sweep, with what has to stand beside them.
SWEEP_KEYS: dict[str, dict[str, Any]] = {
    "executor.workers": {},
    "executor.max_failures": {},
    "executor.resources.cpus": {"executor": {"name": "ray"}},
    "executor.resources.board": {"executor": {"name": "ray"}},
    "samples": {},
    "seed": {"samples": 1},
}
#: What is a value of a key.
ALLOWED = {("seed", "-1"), ("supernet.learning_rate", "1.5")}


def put(path: Path, key: str, text: str) -> None:
    """Write a text to where a dotted key of a YAML file leads."""
    data = here = yaml.safe_load(path.read_text())
    *sections, last = key.split(".")
    for section in sections:
        here = here.setdefault(section, {})
    here[last] = "@@"
    path.write_text(yaml.safe_dump(data).replace("'@@'", text))


@pytest.mark.parametrize("key", SWEEP_KEYS)
def test_no_key_of_a_sweep_takes_them(key: str, nas: Command, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, {"seed": [0, 1]}, HOPELESS, **SWEEP_KEYS[key])
    plain = path.read_text()
    for text in (text for text in ODD if (key, text) not in ALLOWED):
        path.write_text(plain)
        put(path, key, text)
        before = hashes(tmp_path)
        error = nas("sweep", str(path), "--out", "out").error
        assert (key in error or "digits" in error) and len(error) < 400, error
        assert hashes(tmp_path) == before


@pytest.mark.parametrize("kind", ["int", "log", "uniform"])
def test_no_range_ends_at_them(kind: str, nas: Command, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, {"winners.epochs": {kind: "@@"}}, HOPELESS, samples=2)
    plain = path.read_text()
    for text in ODD:
        for ends in (f"[{text}, 5]", f"[5, {text}]"):
            path.write_text(plain.replace("'@@'", ends))
            error = nas("check", str(path)).error
            assert "winners.epochs" in error or "digits" in error, error


@pytest.mark.parametrize("samples", [None, 2])
def test_no_value_of_an_axis_is_one(samples: int | None, nas: Command, tmp_path: Path) -> None:
    """Though a negative seed is one, these are epochs."""
    keys = {} if samples is None else {"samples": samples}
    path = write_sweep(tmp_path, {"winners.epochs": "@@"}, HOPELESS, **keys)
    plain = path.read_text()
    for text in ODD:
        path.write_text(plain.replace("'@@'", f"[{text}]" if samples is None else f"[{text}, 1]"))
        error = nas("check", str(path)).error
        assert "winners.epochs" in error or "digits" in error, error


@pytest.mark.parametrize(
    "key",
    ["search.executor.workers", "search.executor.threads_per_worker", "search.evaluations", "supernet.learning_rate",
     "splits.val", "verify.block_time", "target.threads"],
)  # fmt: skip
def test_no_option_sets_them(key: str, nas: Command, tmp_path: Path) -> None:
    """Of an experiment, or of a sweep's experiment."""
    path = write_sweep(tmp_path, {"seed": [0]}, HOPELESS) if "search" in key else write(tmp_path, HOPELESS)
    command = "sweep" if "search" in key else "run"
    beside = ("--set", "search.executor.name=processes") if "executor" in key else ()
    before = hashes(tmp_path)
    for text in (text for text in ODD if (key, text) not in ALLOWED):
        error = nas(command, str(path), "--out", "out", *beside, "--set", f"{key}={text}").error
        assert (key.rpartition(".")[2] in error or "digits" in error) and len(error) < 500, error
    assert hashes(tmp_path) == before
