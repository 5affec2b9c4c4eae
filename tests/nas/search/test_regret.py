"""A tabular benchmark as an experiment, through the command; its regret against the tables themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.table import LatencyTable, nb201, save_table
from nas.process.files import read_jsonl
from search_spaces.nasbench201 import nasbench201
from tests.nas.small_runs import Command, write

SPACE = nasbench201((1, 8, 8), 10, channels=4, cells=1)


def experiment(accuracies: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "tabular",
        "data": "digits",
        "space": {"name": "nasbench201", "channels": 4, "cells": 1},
        "target": {"device": "rpi4b", "runner": "onnxruntime"},
        "budgets": [{"name": "fast", "latency": "10 ms"}, {"name": "slow", "latency": "30 ms"}],
        "latency_model": {"name": "table", "column": "raspi4"},
        "search": {"evaluator": {"name": "table", "accuracies": str(accuracies)}, "evaluations": 60, "batch": 20},
        "winners": {"training": "scratch"},
    } | changes


def test_regret_is_that_of_the_tables(nas: Command, tmp_path: Path, accuracies: Path) -> None:
    done = nas("search", write(tmp_path, experiment(accuracies)), "--out", "run")
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "run/front.json").read_text())["regret"]
    table, accuracy = nb201(), np.load(accuracies)["test_acc"] / 100
    row = {tuple(genome): number for number, genome in enumerate(table.ops.tolist())}
    whole = [row[tuple(genome)] for genome in np.unique(SPACE.canonical(table.ops), axis=0).tolist()]
    judged = [row[tuple(trial["genome"])] for trial in read_jsonl(tmp_path / "run/trials.jsonl")]
    for name, budget_s in (("fast", 0.010), ("slow", 0.030)):
        within = {number for number in whole if table.column("raspi4")[number] <= budget_s}
        best = max(accuracy[list(within)])
        found = max(accuracy[[number for number in judged if number in within]])
        assert told[name]["networks"] == len(within)
        assert told[name]["best"] == pytest.approx(best) and told[name]["found"] == pytest.approx(found)
        assert f"regret {100 * (best - found):.2f} points" in done.out
    assert not (tmp_path / "run/supernet.npz").exists()


def test_a_budget_that_nothing_keeps_is_told_with_the_fastest_of_all(
    nas: Command, tmp_path: Path, accuracies: Path
) -> None:
    budgets = [{"name": "none", "latency": "1 us"}]
    done = nas("search", write(tmp_path, experiment(accuracies, budgets=budgets)), "--out", "run")
    table = nb201()
    canonical = (SPACE.canonical(table.ops) == table.ops).all(axis=1)
    least = table.column("raspi4")[canonical].min()
    assert done.code == 3
    assert f"{1e6 * least:.1f} us" in done.out + done.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"name": "toy", "max_exits": 0}}, "is a table of another space"),
        ({"latency_model": {"name": "table", "column": "abacus"}}, "no device 'abacus'; it has 1080ti_1"),
        ({"latency_model": {"name": "table", "latencies": "none.npz"}}, "none.npz is no latency table"),
        ({"latency_model": {"name": "table", "column": "raspi4", "error": -1}}, "error is -1"),
        ({"search": {"evaluator": {"name": "table", "accuracies": "none.npz"}}}, "none.npz holds no accuracies"),
        (
            {"search": {"evaluator": {"name": "table", "accuracies": "a.npz"}, "objectives": ["balanced_accuracy"]}},
            "a table knows accuracies and not those of classes",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_written(
    nas: Command, tmp_path: Path, accuracies: Path, changes: dict[str, Any], said: str
) -> None:
    done = nas("search", write(tmp_path, experiment(accuracies, **changes)), "--out", "run")
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_table_with_another_batch_is_refused(nas: Command, tmp_path: Path, accuracies: Path) -> None:
    whole = nb201()
    table = LatencyTable(whole.column("raspi4")[:, None], ("raspi4",), whole.ops, batch=(32,))
    save_table(tmp_path / "batched.npz", table)
    model = {"name": "table", "column": "raspi4", "latencies": "batched.npz"}
    done = nas("search", write(tmp_path, experiment(accuracies, latency_model=model)), "--out", "run")
    assert done.code == 2 and "raspi4 was measured with batch 32, and the target has 1" in done.err
