"""The optimise stage on a small run: what it leaves, what the search makes of it, and what a kill changes (nothing)."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nas.errors import InputError
from nas.run_folder import EXPERIMENT
from nas.searchers.prior import Prior
from nas.stages import optimise, search
from nas.trial import load_batches
from tests.nas.test_stages import opened, rewind

OPTIMISER = {"name": "differentiable", "steps": 40, "warm_up": 2, "proposals": 3}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run that has its supernet, and an optimiser before its search."""
    shutil.copytree(finished, tmp_path / "run")
    rewind(tmp_path / "run", "supernet")
    change(tmp_path / "run", {"searcher": {"name": "joint", "initial": 2}, "optimiser": OPTIMISER})
    return tmp_path / "run"


def change(run: Path, settings: dict[str, Any], **sections: Any) -> None:
    data = yaml.safe_load((run / EXPERIMENT).read_text()) | sections
    data["search"] |= settings
    (run / EXPERIMENT).write_text(yaml.safe_dump(data))


def results(run: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (run / optimise.FOLDER).glob("*.json")}


def test_every_budget_gets_proposals_that_are_judged_first(run: Path) -> None:
    with opened(run) as context:
        problem = search.problem_of(context)
        optimise.optimise(context, problem)
        search.search(context)
        found = optimise.load(context)
        sizes = problem.sizes.tolist()
    written = results(run)
    assert set(written) == {each.budget for each in found} == {"worst", "mean"}
    first = [trial.genome for batch in load_batches(run / search.TRIALS) for trial in batch]
    proposed = {tuple(genome) for record in written.values() for genome in record["proposals"]}
    assert set(first[: len(proposed)]) == proposed
    assert first[:2] == [tuple(each.proposals[0]) for each in found][: len({tuple(e.proposals[0]) for e in found})] or (
        tuple(found[0].proposals[0]) == tuple(found[1].proposals[0])
    )
    for record in written.values():
        assert [len(row) for row in record["probabilities"]] == sizes
        assert np.allclose([sum(row) for row in record["probabilities"]], 1)
        assert max(record["proposals_s"]) <= record["limit_s"]
        assert {"left_out", "left_out_random", "entropy_mean", "price_loss_per_s"} <= set(record["report"])
    assert written["worst"]["leaves"] is None
    assert all(0 <= share <= 0.95 for share in written["mean"]["leaves"])
    assert not list((run / optimise.FOLDER).glob("*.npz")), "checkpoints go when the result is there"


def test_a_searcher_that_takes_a_prior_gets_the_mean_distribution(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Watched(Prior):
        def __init__(self, sizes: Any, probabilities: Any = None) -> None:
            given.append(probabilities)
            super().__init__(sizes, probabilities)

    monkeypatch.setattr("nas.searchers.predictor.Prior", Watched)
    with opened(run) as context:
        optimise.optimise(context, search.problem_of(context))
        search.search(context)
        found = optimise.load(context)
    for gene, row in enumerate(given[0]):
        assert row == pytest.approx(np.mean([each.probabilities[gene] for each in found], axis=0))


def test_a_killed_optimiser_ends_as_if_it_had_not_been(run: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    with opened(whole) as context:
        optimise.optimise(context, search.problem_of(context))
    real = optimise.steps_progress

    class Killed(Exception):
        pass

    for stop in (7, 25):
        with opened(run) as context, pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):

            def failing(*arguments: Any, stop: int = stop) -> Any:
                context_manager = real(*arguments)
                report = context_manager.__enter__()

                class Until:
                    def __enter__(self) -> Any:
                        def stopping(step: int, loss: float) -> None:
                            if step == stop:
                                raise Killed
                            report(step, loss)

                        return stopping

                    def __exit__(self, *exception: object) -> None:
                        context_manager.__exit__(None, None, None)

                return Until()

            patch.setattr(optimise, "steps_progress", failing)
            optimise.optimise(context, search.problem_of(context))
        assert (run / optimise.FOLDER / "worst.state.npz").exists()
    with opened(run) as context:
        optimise.optimise(context, search.problem_of(context))
    assert results(run) == results(whole)


def test_a_tighter_budget_ends_at_a_faster_network(run: Path) -> None:
    with opened(run) as context:
        problem = search.problem_of(context)
        table = problem.tables[context.experiment.target]
        seconds = np.sort(table.score(np.array([t.genome for t in _every(problem)])))
        paths = optimise.open_paths(context)
        ends = []
        for limit in (seconds[len(seconds) // 5], seconds[len(seconds) // 2], seconds[-1]):
            budget = replace(context.experiment.budgets[0], latency_s=limit * (1 + problem.caution[table.target]))
            tight = replace(problem, experiment=replace(context.experiment, budgets=(budget,)))
            loss, cost = optimise.loss_and_cost(tight, 0, paths)
            from nas.optimisers.differentiable import Differentiable

            result = Differentiable(steps=40, warm_up=2).run(tight, loss, cost, tight.allowance_s(budget))
            assert result.seconds[0] <= limit * (1 + 1e-9)
            ends.append(result.seconds[0])
    assert ends == sorted(ends) and ends[0] < ends[-1]


def _every(problem: Any) -> list[Any]:
    class Row:
        def __init__(self, genome: tuple[int, ...]) -> None:
            self.genome = genome

    grid = np.stack(np.unravel_index(np.arange(int(np.prod(problem.sizes))), tuple(problem.sizes)), axis=1)
    return [Row(tuple(row)) for row in np.unique(problem.canonical(grid), axis=0).tolist()]


def test_images_for_architecture_are_needed(run: Path) -> None:
    change(run, {}, splits={"arch": 0.0})
    environment = json.loads((run / "environment.json").read_text())
    with (
        opened_with(run, environment) as context,
        pytest.raises(InputError, match=r"search.optimiser learns from images kept for architecture"),
    ):
        optimise.optimise(context, search.problem_of(context))


def opened_with(run: Path, environment: dict[str, Any]) -> Any:
    """The run with the splits that its changed experiment makes."""
    from nas import config
    from nas.stages.context import materials

    made = materials(config.load(run / EXPERIMENT), begun=True)
    environment["splits"] = made.data.splits.record()
    (run / "environment.json").write_text(json.dumps(environment))
    return opened(run)


def test_an_optimiser_is_recognised_by_its_method() -> None:
    from nas import config
    from tests.nas.small_runs import small

    with pytest.raises(InputError, match="no method `begin`"):
        config.experiment(small(search={"optimiser": {"name": "nas.searchers.random:RandomSearch"}}))
    with pytest.raises(InputError, match="did you mean 'differentiable'"):
        config.experiment(small(search={"optimiser": "diferentiable"}))
