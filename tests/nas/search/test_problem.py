from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.additive import Additive, compile
from latency_models.roofline import Roofline
from nas.config.budget import Budget
from nas.config.component import ComponentSpec
from nas.config.settings import Experiment, SearchSettings
from nas.exits.placement import cumulative_of
from nas.optimisers.exit_shares import Exitless
from nas.run.trial import AtBudget
from nas.search.features import Features
from nas.search.problem import METRIC_OF, BudgetProblem, objective_columns
from search_spaces.mobile import mobile
from search_spaces.slots import exit_positions, find_active, random_genomes, with_exits
from search_spaces.staged import StagedSpace

PI, NANO = Target("rpi4b", "onnxruntime"), Target("jetson_nano_cpu", "onnxruntime", threads=2)
NOTHING = ComponentSpec("x", "x:x", {})
BUDGETS = (
    Budget(2e-4, "worst_case", "worst"),
    Budget(1e-4, "expected", "mean"),
    Budget(3e-4, "worst_case", "other", NANO),
)


@pytest.fixture(scope="module")
def space() -> StagedSpace:
    return mobile((1, 8, 8), 10, "8x8", max_exits=2)


@pytest.fixture(scope="module")
def tables(space: StagedSpace) -> dict[Target, Additive]:
    return {target: compile(space, Roofline(load(target.device), target)) for target in (PI, NANO)}


@pytest.fixture
def problem(space: StagedSpace, tables: dict[Target, Additive]) -> BudgetProblem:
    experiment = Experiment(
        "x", NOTHING, NOTHING, PI, BUDGETS, NOTHING, SearchSettings(NOTHING, NOTHING, NOTHING), NOTHING
    )
    return BudgetProblem(space, experiment, tables, {PI: 0.1, NANO: 0.25}, seed=0)


def test_a_searcher_sees_arrays(problem: BudgetProblem, space: StagedSpace) -> None:
    genomes = random_genomes(space, 50, np.random.default_rng(0))
    objectives, violation = problem.free_objectives(genomes)
    assert problem.sizes.shape == problem.ordinal.shape == (len(space.genes),)
    assert objectives.shape == (50, 1) and violation.shape == (50, 3)
    assert (violation >= 0).all() and np.isfinite(violation).all()
    assert np.array_equal(problem.canonical(genomes), genomes)


def test_a_violation_is_the_share_of_the_budget_that_is_missing(problem: BudgetProblem, space: StagedSpace) -> None:
    """Judged network by network with the model itself, its error granted."""
    models = {target: Roofline(load(target.device), target) for target in (PI, NANO)}
    genomes = random_genomes(space, 20, np.random.default_rng(1))
    _, violation = problem.free_objectives(genomes)
    for row, genome in enumerate(genomes):
        network = space.decode(genome)
        pi, nano = (models[target].predict([network]) for target in (PI, NANO))
        expected = [
            1.1 * pi.total_s[0] / 2e-4 - 1,
            1.1 * pi.cumulative_s(0)[0] / 1e-4 - 1,  # leaving always at the first exit is as fast as it can be
            1.25 * nano.total_s[0] / 3e-4 - 1,
        ]
        assert violation[row] == pytest.approx(np.maximum(expected, 0), rel=1e-6, abs=1e-9)


def test_an_exit_can_only_help_an_expected_budget(problem: BudgetProblem, space: StagedSpace) -> None:
    for genome in random_genomes(space, 20, np.random.default_rng(2)):
        none, one = (with_exits(space, genome, on)[None] for on in ((), (0,)))
        assert problem.free_objectives(one)[1][0, 1] <= problem.free_objectives(none)[1][0, 1]
        assert problem.free_objectives(one)[1][0, 0] >= problem.free_objectives(none)[1][0, 0]


@pytest.mark.parametrize("exits", [True, False])
def test_a_problem_says_which_genes_have_an_effect(problem: BudgetProblem, space: StagedSpace, exits: bool) -> None:
    """Without early exits, what switches them has none; all else is as canonical has it."""
    searched = problem if exits else Exitless.of(problem)
    genomes = searched.canonical(random_genomes(space, 200, np.random.default_rng(4)))
    told = searched.active(genomes)
    assert np.array_equal(told, find_active(searched.canonical, searched.sizes, genomes))
    switches = [site.gene for site in space.exit_sites if site.gene is not None]
    assert told[:, switches].any() == exits
    assert exits or (np.isfinite(searched.tables[PI].cumulative_s(genomes)).sum(axis=1) == 1).all()


def test_parts_add_up_to_every_choice_of_exits(
    problem: BudgetProblem, space: StagedSpace, tables: dict[Target, Additive]
) -> None:
    rng = np.random.default_rng(3)
    places = len(exit_positions(space)) - 1
    for genome in random_genomes(space, 30, rng):
        on = rng.permutation(places)[: rng.integers(0, 3)]
        chosen = with_exits(space, genome, on.tolist())
        cumulative = tables[PI].cumulative_s(chosen[None])[0]
        body_s, head_s = problem.parts(genome, PI)
        kept = np.flatnonzero(~np.isnan(cumulative))
        assert cumulative_of(kept[:-1].tolist(), body_s, head_s) == pytest.approx(cumulative[kept], rel=1e-9)


def test_the_allowance_leaves_room_for_the_models_error(problem: BudgetProblem) -> None:
    assert problem.effective_budget_s(BUDGETS[0]) == pytest.approx(2e-4 / 1.1)
    assert problem.effective_budget_s(BUDGETS[2]) == pytest.approx(3e-4 / 1.25)


def test_everything_that_a_searcher_is_told_is_to_be_minimised() -> None:
    metrics = {name: float(number) for number, name in enumerate(METRIC_OF.values())}
    at = AtBudget(0.75, 1e-3, (), (1.0,))
    assert objective_columns(("accuracy", "params"), metrics, (at, None)) == [0.25, 1.0, metrics["params"]]
    assert objective_columns(tuple(METRIC_OF), metrics, ()) == list(metrics.values())


def test_multiply_adds_are_known_without_a_network_being_made(problem: BudgetProblem, space: StagedSpace) -> None:
    search = replace(problem.experiment.search, features=("macs",))
    context: Any = SimpleNamespace(space=space, experiment=replace(problem.experiment, search=search))
    genomes = random_genomes(space, 30, np.random.default_rng(5))
    assert problem.features(genomes).shape == (30, 0)
    found = replace(problem, known=Features(context)).features(genomes)
    assert found[:, 0] == pytest.approx(np.log([space.decode(genome).macs for genome in genomes]))
