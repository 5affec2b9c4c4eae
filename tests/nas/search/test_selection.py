"""The choice of winners on copies of a finished run: what moves the model, and what a broken budget undoes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.devices.measurement import Measurement
from nas.process.files import read_jsonl
from nas.run.context import Context
from nas.run.measurements import append_measurements, measured
from nas.run.not_kept import set_aside, trained_before
from nas.search import selection
from nas.search.selection import choose
from tests.nas.opened_runs import opened, rewind, taking, timing_by


@pytest.mark.parametrize("how", [{}, {"drifted": True}, {"disturbed": 0.9}])
def test_only_steady_readings_of_candidates_move_the_latency_model(
    how: dict[str, Any], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind(run, "search")
    fitted: list[int] = []
    refit = selection.refit

    def counting(context: Context, model: Any, rows: Sequence[Measurement]) -> Any:
        fitted.append(len(rows))
        return refit(context, model, rows)

    monkeypatch.setattr(selection, "refit", counting)
    with opened(run, timing_by(taking(1e-3, **how))) as context:
        found, _ = choose(context)
        assert found["worst"].measurement is not None
    assert max(fitted) == 0 if how else max(fitted) > 0


def test_a_choice_stands_until_it_is_seen_to_break_its_budget(run: Path) -> None:
    with opened(run) as context:
        first, unmet = choose(context)
        assert not unmet and choose(context)[0] == first
        before = read_jsonl(run / "measurements.jsonl")
        broken = first["worst"].trial.key
        row = Measurement.from_dict([row for row in before if row["key"] == broken][-1])
        row = replace(row, purpose="winner", budget="worst", broken=("worst",))
        append_measurements(context, [row])
        second, _ = choose(context)
        assert second["worst"].trial.key != broken
        assert second["mean"] == replace(first["mean"], measurement=second["mean"].measurement)
        # Another reading of the same network, be it for the other budget, does not make it good.
        for budget in ("worst", "mean"):
            append_measurements(context, [replace(row, budget=budget, broken=())])
            shutil.rmtree(run / "winners" / "worst")
            assert choose(context)[0]["worst"].trial.key != broken
        assert measured(context, context.experiment.budgets[0])[broken].broken == ("worst",)


def test_weights_are_kept_though_the_choice_is_lost(run: Path) -> None:
    """Deleting a damaged architecture.json is what the message about it says to do."""
    (run / "winners/worst/architecture.json").unlink()
    weights = (run / "winners/worst/weights.safetensors").read_bytes()
    with opened(run) as context:
        set_aside(context, context.experiment.budgets[0])
    (kept,) = (run / "not_kept/worst").glob("*/weights.safetensors")
    assert kept.read_bytes() == weights


def test_what_came_nearest_is_the_budgets_again_where_nothing_else_is_left(run: Path) -> None:
    """Also where it had been set aside, and the one that took its place took even longer."""
    with opened(run) as context:
        budget = context.experiment.budgets[0]
        first = choose(context)[0]["worst"]
        row = first.measurement
        assert row is not None
        append_measurements(context, [replace(row, purpose="winner", budget="worst", broken=("worst",))])
        second = choose(context)[0]["worst"]
        assert second.trial.key != first.trial.key and (run / "not_kept/worst" / first.trial.key[:16]).is_dir()
        found = trained_before(context, 0, budget)
        assert found is not None and found.trial.key == first.trial.key
        assert (run / "winners/worst/weights.safetensors").exists() and not list((run / "not_kept/worst").iterdir())


def test_what_belongs_to_a_former_winner_goes_with_it(run: Path) -> None:
    with opened(run) as context:
        first, _ = choose(context)
        row = first["worst"].measurement
        assert row is not None and (run / "winners/worst/model.onnx").exists()
        append_measurements(context, [replace(row, budget="worst", broken=("worst",))])
        choose(context)
        assert [path.name for path in (run / "winners/worst").iterdir()] == ["architecture.json"]
        assert (run / "winners/mean/model.onnx").exists()
