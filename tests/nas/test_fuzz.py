"""Some cases of the fuzzer: no traceback, nothing wrongly kept, nothing changed without a word."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.nas.small_runs import SMALL, write

CASES = 25


def test_odd_and_damaged_input_ends_well(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    fuzz, runs = importlib.import_module("fuzz"), importlib.import_module("fuzz_runs")
    place = fuzz.Place(tmp_path, 0)
    place.base.symlink_to(finished)
    write(tmp_path, SMALL, "base.yaml")
    intact, kinds = runs.results(finished), set()
    # Every twentieth is a process of its own.
    for number in [number for number in range(1, CASES + 3) if number % 20]:
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        found = fuzz.one(place, number, intact)
        assert not found["faults"], found
        kinds.add(found["kind"])
    assert len(kinds) > 4


@pytest.mark.parametrize("kind", ["cifar", "idx", "bundle"])
def test_files_in_formats_of_others_and_bundles_end_well(
    kind: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    fuzz = importlib.import_module("fuzz")
    place = fuzz.Place(tmp_path, 1)
    place.base.symlink_to(finished)
    write(tmp_path, SMALL, "base.yaml")
    codes = set()
    for number in [number for number in range(1, 400) if number % 20 and fuzz.kind_of(place, number) == kind][:16]:
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        found = fuzz.one(place, number, {})
        assert not found["faults"], found
        codes.add(found["code"])
    assert 2 in codes, "nothing was refused"


def test_a_fault_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path) -> None:
    """The rules above can fail."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    runs = importlib.import_module("fuzz_runs")
    intact, name = runs.results(finished), "winners/mean/exit_0.onnx"
    whole = (finished / name).read_bytes()
    passed_over = runs.Damage(tmp_path, name, "flip", whole, whole[:-1], ("run", "x"))
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(whole[:-1])
    assert [*runs.judged(passed_over, 0, "report: run/report.html", intact)] == ["wrong_kept"]
    assert not [*runs.judged(passed_over, 0, "exit_0.onnx is not what was exported", intact)]
    assert not [*runs.judged(passed_over, 2, "", intact)]
    text = (finished / "front.json").read_bytes()
    (tmp_path / "front.json").write_bytes(text.replace(b"genome", b"genom"))
    changed = runs.Damage(tmp_path, "front.json", "flip", text, text.replace(b"genome", b"genom"), ("search", "x"))
    assert [*runs.judged(changed, 0, "", intact)] == ["silent_changes"]
