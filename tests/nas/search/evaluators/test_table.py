"""A tabular benchmark as a problem and an evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.table import LatencyTable
from nas.errors import InputError
from nas.search.evaluators.table import Rows, TableEvaluator, TableProblem, load_accuracy
from nas.searchers.regularised import RegularisedEvolution


def full_table(sizes: tuple[int, ...] = (3, 2, 4)) -> LatencyTable:
    """Every genome, in shuffled order; the latency is 1 ms for each step of each position, the second device's 2 ms."""
    ops = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
    ops = np.random.default_rng(0).permutation(ops).astype(np.int64)
    seconds = 1e-3 * (1 + ops.sum(axis=1))
    return LatencyTable(np.column_stack((seconds, 2 * seconds)), ("a", "b"), ops)


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_genomes_are_found_wherever_they_stand() -> None:
    table = full_table()
    rows = Rows(table.ops)
    assert rows.sizes.tolist() == [3, 2, 4]
    order = np.random.default_rng(1).permutation(len(table))
    assert rows.find(table.ops[order]).tolist() == order.tolist()
    assert rows.nearest(table.ops[order]).tolist() == order.tolist()


def test_what_is_missing_means_the_nearest() -> None:
    ops = np.array([[0, 0, 0], [2, 1, 3], [2, 1, 0]])
    rows = Rows(ops)
    assert rows.find(np.array([[2, 1, 3], [1, 1, 3], [0, 0, 3]])).tolist() == [1, -1, -1]
    assert rows.nearest(np.array([[2, 1, 3], [1, 1, 3], [0, 0, 3]])).tolist() == [1, 1, 0]
    problem = TableProblem(rows, np.array([1.0, 2.0, 3.0]), (2.0,))
    everything = np.stack(np.unravel_index(np.arange(24), (3, 2, 4)), axis=1)
    canonical = problem.canonical(everything)
    assert {tuple(row) for row in canonical.tolist()} == {tuple(row) for row in ops.tolist()}
    assert np.array_equal(problem.canonical(canonical), canonical)


def test_the_problem_has_the_tables_latencies_and_violations() -> None:
    table = full_table()
    seconds = table.column("a").copy()
    seconds[5] = np.nan
    problem = TableProblem(Rows(table.ops), seconds, (2e-3, 4e-3), seed=3)
    free, violation = problem.free_objectives(table.ops)
    known = np.arange(len(table)) != 5
    np.testing.assert_allclose(free[known, 0], seconds[known])
    np.testing.assert_allclose(violation[known, 0], np.maximum(seconds[known] / 2e-3 - 1, 0))
    assert np.isinf(free[5]).all() and np.isinf(violation[5]).all()
    assert problem.seed == 3 and not problem.ordinal.any()


def test_a_search_stays_within_the_table_and_the_budget() -> None:
    table = full_table((4, 4, 4, 4))
    part = LatencyTable(table.latency_s[:120], table.devices, table.ops[:120])
    problem = TableProblem(Rows(part.ops), part.column("b"), (0.014,))
    searcher, asked = RegularisedEvolution(problem, population=8, sample=3), []
    for _ in range(30):
        genomes = searcher.ask(4)
        searcher.tell(genomes, genomes.sum(axis=1, keepdims=True) * 1.0, problem.free_objectives(genomes)[1])
        asked += problem.rows.find(genomes).tolist()
    # All networks of the table that are fast enough, each once, and no others.
    assert sorted(asked) == np.flatnonzero(part.column("b") <= 0.014).tolist()


def test_the_evaluator_looks_up(tmp_path: Path) -> None:
    table = full_table()
    percent = np.linspace(10, 95, len(table))
    accuracy = load_accuracy(save(tmp_path / "a.npz", test_acc=percent), table)
    evaluator = TableEvaluator(table, accuracy)
    found = evaluator(table.ops[[7, 2]])
    np.testing.assert_allclose(found["accuracy"], percent[[7, 2], None] / 100)
    np.testing.assert_array_equal(found["latency_s"], table.latency_s[[7, 2]])
    with pytest.raises(InputError, match=r"no network \[2, 1, 9\]"):
        evaluator(np.array([[2, 1, 9]]))
    with pytest.raises(InputError, match="3 accuracies and 24 latencies"):
        TableEvaluator(table, accuracy[:3])


def test_accuracies_are_fractions_of_several_data_sets_matched_by_network(tmp_path: Path) -> None:
    table = full_table()
    both = np.random.default_rng(0).random((len(table), 2))
    order = np.random.default_rng(1).permutation(len(table))
    path = save(tmp_path / "a.npz", test_acc=both[order], ops=table.ops[order])
    np.testing.assert_allclose(load_accuracy(path, table), both)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"accuracy": np.ones(24)}, "no array 'test_acc'"),
        ({"test_acc": np.ones(23)}, "23 accuracies for the 24 networks"),
        ({"test_acc": np.full(24, 101.0)}, "from 0 to 100"),
        ({"test_acc": np.full(24, np.nan)}, "from 0 to 100"),
        ({"test_acc": np.ones((24, 1, 1))}, "from 0 to 100"),
        ({"test_acc": np.ones(24), "ops": np.zeros((24, 3), np.int64)}, "no accuracy for network"),
    ],
)
def test_files_that_hold_no_accuracies_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_accuracy(save(tmp_path / "a.npz", **arrays), full_table())


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("accuracy")
    with pytest.raises(InputError, match="holds no accuracies"):
        load_accuracy(tmp_path / "a.npz", full_table())
