"""Moving a target moves the result, for every searcher and every objective: none of them is silently ignored."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, get_args

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.additive import compile as compile_tables
from latency_models.roofline import Roofline
from nas.config.settings import Objective
from nas.run.trial import AtBudget
from nas.search.problem import METRIC_OF, objective_columns
from nas.searchers import SEARCHERS
from nas.searchers.base import Genomes, Searcher
from search_spaces.mobile import mobile
from search_spaces.slots import sizes

TARGET = Target("rpi4b", "onnxruntime")
SPACE = mobile((1, 8, 8), 10, max_exits=1)
TABLES = compile_tables(SPACE, Roofline(load("rpi4b"), TARGET))
#: Populations that fit into the few evaluations of a test.
ARGUMENTS: dict[str, dict[str, int]] = {
    "nsga2": {"population": 16},
    "regularised": {"population": 16, "sample": 6},
    "optuna_nsga3": {"population": 16},
}
#: Optuna takes milliseconds per proposal.
EVERY = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith("optuna_") else name for name in sorted(SEARCHERS)
]
#: A score stands in the place of an accuracy.
OTHERS = [each for each in get_args(Objective) if "accuracy" not in each and each != "score"]


def made(name: str, problem: Any) -> Searcher:
    if name.startswith("optuna_"):
        pytest.importorskip("optuna")
    module, attribute = SEARCHERS[name].split(":")
    make: Callable[..., Searcher] = getattr(import_module(module), attribute)
    return make(problem, **ARGUMENTS.get(name, {}))


class OneBudget:
    """A small space under one latency budget in seconds; accuracy grows with the multiply-adds, to any extent."""

    seed = 0

    def __init__(self, budget_s: float) -> None:
        self.budget_s = budget_s
        self.sizes = sizes(SPACE)
        self.ordinal = np.array([gene.ordinal for gene in SPACE.genes])
        self.canonical = SPACE.canonical

    def free_objectives(self, genomes: Genomes) -> tuple[np.ndarray, np.ndarray]:
        seconds = TABLES.latency_s(genomes)[:, None]
        return seconds, np.maximum(seconds / self.budget_s - 1, 0)

    def evaluate(self, genomes: Genomes, objectives: list[Objective]) -> np.ndarray:
        rows = []
        for genome, seconds in zip(genomes, TABLES.latency_s(genomes), strict=True):
            figures = metrics(tuple(genome.tolist()))
            at = AtBudget(accuracy=figures["macs"] / 1e7, latency_s=float(seconds), thresholds=(), rates=(1.0,))
            rows.append(objective_columns(objectives, figures, [at]))
        return np.array(rows)


@cache
def metrics(genome: tuple[int, ...]) -> dict[str, float]:
    """What a trial records of a network."""
    network = SPACE.decode(genome)
    seconds = float(TABLES.latency_s(np.array([genome]))[0])
    return {
        "worst_case_latency_s": seconds,
        "expected_latency_s": float(np.nanmin(TABLES.cumulative_s(np.array([genome])))),
        "params": network.params,
        "macs": network.macs,
        "peak_memory_bytes": network.peak_memory,
        "weight_bytes": network.weight_bytes,
    }


def searched(name: str, budget_s: float, objectives: list[Objective], batches: int = 12) -> Genomes:
    problem = OneBudget(budget_s)
    searcher = made(name, problem)
    asked = []
    for _ in range(batches):
        genomes = searcher.ask(10)
        searcher.tell(genomes, problem.evaluate(genomes, objectives), problem.free_objectives(genomes)[1])
        asked.append(genomes)
    return np.concatenate(asked)


@pytest.fixture(scope="module")
def spread() -> np.ndarray:
    """Seconds of random networks, sorted."""
    rng = np.random.default_rng(0)
    genomes = SPACE.canonical(rng.integers(sizes(SPACE), size=(400, len(SPACE.genes))))
    seconds: np.ndarray = np.sort(TABLES.latency_s(genomes))
    return seconds


@pytest.mark.parametrize("name", EVERY)
def test_a_larger_budget_gives_a_better_network_that_uses_it(name: str, spread: np.ndarray) -> None:
    found = []
    for share in (0.15, 0.5, 0.95):
        budget_s = float(np.quantile(spread, share))
        asked = searched(name, budget_s, ["accuracy"])
        seconds = TABLES.latency_s(asked)
        assert (seconds <= budget_s).all()
        best = np.array([metrics(tuple(row))["macs"] for row in asked.tolist()]).argmax()
        found.append((metrics(tuple(asked[best].tolist()))["macs"], seconds[best]))
    assert found[0][0] < found[1][0] < found[2][0]
    assert found[1][1] > np.quantile(spread, 0.15)


@pytest.mark.parametrize("objective", OTHERS)
@pytest.mark.parametrize("name", [name for name in EVERY if name != "random"])
def test_an_objective_that_is_asked_for_is_minimised(name: str, objective: Objective, spread: np.ndarray) -> None:
    """Alone it draws the search to small networks; the accuracy alone draws it to large ones."""
    budget_s = float(spread[-1])

    def typical(objectives: list[Objective]) -> float:
        late = searched(name, budget_s, objectives)[-40:]
        return float(np.median([metrics(tuple(row))[METRIC_OF[objective]] for row in late.tolist()]))

    assert typical([objective]) < typical(["accuracy"])
