"""What a sweep is searched for: figures of verdicts, and one sentence for what nobody can search by or for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from nas.run.lenient_json import LenientJson
from nas.run.verdict_files import read_verdicts
from nas.sweep.objective import Found, Search, found_in
from tests.nas.small_runs import Command, hashes
from tests.nas.sweep.small_sweeps import write_search

pytest.importorskip("optuna")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"objective": "acuracy"}, "objective: the verdict has no 'acuracy'; did you mean 'accuracy'?"),
        ({"objective": "test_accuracy"}, "(recipes are not chosen on test images); did you mean 'accuracy'?"),
        ({"search_by": "optuna_tpa"}, "there is no way of searching 'optuna_tpa'; did you mean 'optuna_tpe'?"),
        ({"budget": "wurst"}, "budget: the experiment has no budget 'wurst'; did you mean 'worst'?"),
        ({"samples": None, "axes": {"seed": [0, 1]}}, "search_by: it is not said how many cells to search"),
        ({"axes": {"seed": [0, 1]}}, "combinations of lists are a grid, of which nothing is to be searched"),
        ({"samples": 0}, "samples is 0; it must be from 1 to 2,000"),
        ({"search_by": None, "objective": "accuracy"}, "objective: nothing is searched for"),
        ({"search_by": None, "budget": "worst"}, "budget: nothing is searched for"),
    ],
)
@pytest.mark.parametrize("command", ["check", "sweep"])
def test_what_cannot_be_searched_is_refused(
    command: str, keys: dict[str, Any], message: str, nas: Command, tmp_path: Path
) -> None:
    file = write_search(tmp_path, **keys)
    before = hashes(tmp_path)
    assert message in nas(command, str(file)).error
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("command", ["check", "sweep"])
def test_without_optuna_there_is_one_sentence(
    command: str, nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    file = write_search(tmp_path)
    assert "search_by: optuna_tpe need Optuna, which is not installed: pip install hwnas[optuna]" in nas(
        command, str(file)
    ).error  # fmt: skip
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("objective", "measured", "kept", "found"),
    [
        ("accuracy", {"accuracy": {"val": 0.9}}, None, Found(0.9, 0.0)),
        ("accuracy", {"accuracy": {"val": 0.9}, "predicted_s": 0.3}, None, Found(0.9, pytest.approx(0.5))),
        ("accuracy", {"accuracy": {"val": 0.9}, "upper_95_s": 0.1}, True, Found(0.9, 0.0, kept=True)),
        ("accuracy", {"accuracy": {"val": 0.9}, "upper_95_s": 0.3}, False, Found(0.9, pytest.approx(0.5))),
        # Its answers are others than those of the network that was trained.
        ("accuracy", {"accuracy": {"val": 0.9}, "upper_95_s": 0.1}, False, Found(0.9, 1.0)),
        ("accuracy", None, None, Found(0.0, 1.0)),
        ("latency", {"upper_95_s": 0.1}, True, Found(0.1, 0.0, kept=True)),
        ("latency", None, None, Found(None, 1.0)),
        ("params", {"counts": {"params": 1200}}, True, Found(1200, 0.0, kept=True)),
        ("energy", {}, True, Found(None, 0.0, kept=True)),
    ],
)
def test_what_a_verdict_is_worth(
    objective: str, measured: dict[str, Any] | None, kept: bool | None, found: Found
) -> None:
    winners = [] if measured is None else [{"name": "worst", "budget_s": 0.2, **measured}]
    about = {"winners": [{"name": "worst", "kept": kept}], "verify_sha256": "1"}
    verdicts = read_verdicts(LenientJson({"schema": 2, "winners": winners}), LenientJson(about), "1")
    assert found_in(Search("optuna_tpe", objective, "worst", 3), verdicts) == found
