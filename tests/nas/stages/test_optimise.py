"""The optimise stage on a small run: what it leaves, what the search makes of it, and what a kill changes (nothing)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from latency_models.arrays import read_arrays
from nas.config import parse
from nas.errors import InputError
from nas.optimisers.differentiable import ByLossRegression, Differentiable
from nas.optimisers.searches import Networks, begin
from nas.process.events import Event, Voice
from nas.run.layout import EXPERIMENT, OPTIMISER, TRIALS
from nas.run.optimiser import BALANCED, BEGUN_ANEW, load_found, read_checkpoint, write_checkpoint
from nas.run.supernet import shared_weights
from nas.run.trial import load_batches
from nas.search.problem import problem_of
from nas.searchers.prior import Prior
from nas.stages import optimise, search
from tests.nas.opened_runs import opened, rewind
from tests.nas.small_runs import Command, small, write
from tests.nas.stages.killed_steps import Killed, killed_at

SETTINGS = {"name": "differentiable", "steps": 40, "warm_up": 2, "proposals": 3}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run that has its supernet, and an optimiser before its search."""
    shutil.copytree(finished, tmp_path / "run")
    rewind(tmp_path / "run", "supernet")
    change(tmp_path / "run", {"searcher": {"name": "joint", "initial": 2}, "optimiser": SETTINGS})
    return tmp_path / "run"


def change(run: Path, settings: dict[str, Any], **sections: Any) -> None:
    data = yaml.safe_load((run / EXPERIMENT).read_text()) | sections
    data["search"] |= settings
    (run / EXPERIMENT).write_text(yaml.safe_dump(data))


def results(run: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (run / OPTIMISER).glob("*.json")}


def test_every_budget_gets_proposals_that_are_judged_first(run: Path) -> None:
    with opened(run) as context:
        problem = problem_of(context)
        optimise.optimise(context, problem)
        search.search(context)
        found = load_found(context)
        sizes, space = problem.sizes.tolist(), context.space
    written = results(run)
    assert set(written) == {each.budget for each in found} == {"worst", "mean"}
    first = [trial.genome for batch in load_batches(run / TRIALS) for trial in batch]
    turns = [tuple(each.proposals[rank].tolist()) for rank in range(3) for each in found if rank < len(each.proposals)]
    expected = list(dict.fromkeys(turns))
    assert first[: len(expected)] == expected
    for record in written.values():
        assert [len(row) for row in record["probabilities"]] == sizes
        assert np.allclose([sum(row) for row in record["probabilities"]], 1)
        assert max(record["proposals_s"]) <= record["limit_s"]
        assert {"left_out", "left_out_random", "entropy_mean", "loss_explained"} <= set(record["report"])
    assert written["worst"]["leaves"] is None
    bare = [space.decode(genome) for genome in written["worst"]["proposals"]]
    assert all(len(network.exits) == 1 for network in bare), "in the worst case an exit only costs time"
    assert all(0 <= share <= 0.95 for share in written["mean"]["leaves"])
    assert not list((run / OPTIMISER).glob("*.npz")), "checkpoints go when the result is there"


def test_a_searcher_that_takes_a_prior_gets_the_mean_distribution(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    class Watched(Prior):
        def __init__(self, sizes: Any, probabilities: Any = None) -> None:
            given.append(probabilities)
            super().__init__(sizes, probabilities)

    monkeypatch.setattr("nas.searchers.predictor.Prior", Watched)
    with opened(run) as context:
        optimise.optimise(context, problem_of(context))
        search.search(context)
        found = load_found(context)
    assert given[:-1] == [None], "it is built without a prior and then takes one"
    for gene, row in enumerate(given[-1]):
        assert row == pytest.approx(np.mean([each.probabilities[gene] for each in found], axis=0))


def test_a_killed_optimiser_ends_as_if_it_had_not_been(run: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    with opened(whole) as context:
        optimise.optimise(context, problem_of(context))
    real = optimise.steps_progress
    for budget, stop in (("worst", 7), ("worst", 25), ("mean", 9)):

        @contextmanager
        def stopping(context: Any, what: str, *steps: int, budget: str = budget, stop: int = stop) -> Iterator[Any]:
            with real(context, what, *steps) as report:

                def until(step: int, loss: float) -> None:
                    if step == stop and what.endswith(budget):
                        raise Killed
                    report(step, loss)

                yield until

        with opened(run) as context, pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(optimise, "steps_progress", stopping)
            optimise.optimise(context, problem_of(context))
        assert (run / OPTIMISER / f"{budget}.state.npz").exists()
    with opened(run) as context:
        optimise.optimise(context, problem_of(context))
    assert results(run) == results(whole)


@pytest.mark.parametrize("kind", [Differentiable, ByLossRegression])
@pytest.mark.parametrize("of", ["worst_case", "expected"])
def test_a_tighter_budget_ends_at_a_faster_network(of: Any, kind: Any, run: Path) -> None:
    with opened(run) as context:
        problem = problem_of(context)
        table = problem.tables[context.experiment.target]
        seconds = np.sort(table.latency_s(np.array([t.genome for t in _every(problem)])))
        optimiser = kind(steps=40, warm_up=2)
        networks = Networks.of(context, optimiser, shared_weights(context))
        assert (networks.gated is None) == (kind is ByLossRegression)
        ends, rates = [], None
        for limit in (seconds[len(seconds) // 5], seconds[len(seconds) // 2], seconds[-1]):
            budget = replace(
                context.experiment.budgets[0], of=of, latency_s=limit * (1 + problem.safety_margin[table.target])
            )
            tight = replace(problem, experiment=replace(context.experiment, budgets=(budget,)))
            search = begin(context, tight, 0, optimiser, networks)
            rates = search.exit_rates
            for step in range(search.steps.steps):
                search.step(step)
            result = search.steps.result()
            assert result.seconds[0] <= limit * (1 + 1e-9)
            ends.append(table.latency_s(result.proposals[:1])[0])
    assert bool(rates) == (of == "expected")
    assert ends[0] < ends[-1]
    if of == "worst_case":
        assert ends == sorted(ends)


def _every(problem: Any) -> list[Any]:
    class Row:
        def __init__(self, genome: tuple[int, ...]) -> None:
            self.genome = genome

    grid = np.stack(np.unravel_index(np.arange(int(np.prod(problem.sizes))), tuple(problem.sizes)), axis=1)
    return [Row(tuple(row)) for row in np.unique(problem.canonical(grid), axis=0).tolist()]


def test_what_cannot_be_optimised_is_refused_before_anything_is_written(nas: Command, tmp_path: Path) -> None:
    def refused(optimiser: dict[str, Any], **sections: Any) -> str:
        data = small(**sections)
        data["search"] |= {"optimiser": {"name": "differentiable", **optimiser}}
        for command in (("check",), ("run", "--out", str(tmp_path / "out"))):
            error = nas(command[0], write(tmp_path, data), *command[1:]).error
        assert not (tmp_path / "out").exists()
        return error

    assert "steps of a differentiable search must be at least 1, got 0" in refused({"steps": 0})
    assert "hot 0.1" in refused({"hot": 0.1})
    assert "share of a differentiable search must be between 0 and 1, got 1.5" in refused({"share": 1.5})
    assert "splits.arch leaves 0; it takes at least 32" in refused({}, splits={"arch": 0.0})


def test_an_optimiser_is_recognised_by_its_method() -> None:
    with pytest.raises(InputError, match="no method `begin`"):
        parse.experiment(small(search={"optimiser": {"name": "nas.searchers.random:RandomSearch"}}))
    with pytest.raises(InputError, match="did you mean 'differentiable'"):
        parse.experiment(small(search={"optimiser": "diferentiable"}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"proposals": 3}', '{"proposals": [[0]], "probabilities": [3]}'])
def test_a_damaged_result_is_named(text: str, run: Path, nas: Command) -> None:
    with opened(run) as context:
        optimise.optimise(context, problem_of(context))
    path = run / OPTIMISER / "worst.json"
    path.write_text(text)
    error = nas("run", str(run / EXPERIMENT), "--out", str(run), "--resume").error
    assert str(path) in error and "delete it, and the optimiser looks again" in error


@pytest.mark.parametrize("content", [b"", b"PK\3\4torn", b"nonsense"])
def test_a_damaged_checkpoint_is_named(content: bytes, run: Path, nas: Command) -> None:
    with opened(run) as context:
        path = context.files.optimiser_checkpoint("worst")
        path.parent.mkdir()
        path.write_bytes(content)
    error = nas("run", str(run / EXPERIMENT), "--out", str(run), "--resume").error
    assert str(path) in error and "delete it, and the optimiser looks again" in error


def test_a_checkpoint_that_outlived_its_search_goes(run: Path) -> None:
    """As where the run was killed when the result was written."""
    with opened(run) as context:
        optimise.optimise(context, problem_of(context))
        rest = context.files.optimiser_checkpoint("worst")
        rest.write_bytes(b"rest")
        optimise.optimise(context, problem_of(context))
        assert not rest.exists() and context.files.optimiser("worst").exists()


BALANCED_ACCURACY = {"objectives": ["balanced_accuracy", "worst_case_latency"]}


@pytest.mark.parametrize(("balanced", "older"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_state_of_a_search_whose_losses_were_on_another_scale_is_not_gone_on_with(
    balanced: bool, older: bool, run: Path
) -> None:
    """Older releases did not balance them, nor say so; what one of them began without that objective goes on."""
    if balanced:
        change(run, BALANCED_ACCURACY)
    said: list[Event] = []
    with opened(run) as context:
        budget, state = context.experiment.budgets[0], {"logits": np.arange(3.0)}
        checkpoint = context.files.optimiser_checkpoint(budget.name)
        write_checkpoint(context, budget, 7, state)
        if older:
            forget_scale(checkpoint)
        found = read_checkpoint(replace(context, voice=Voice(said.append)), budget)
    assert (found is None) == (balanced and older)
    if found is not None:
        assert found[0] == 7 and list(found[1]) == ["logits"] and found[1]["logits"].tolist() == [0, 1, 2]
    assert [event.text for event in said] == [f"worst: {BEGUN_ANEW}"] * (found is None)


def forget_scale(checkpoint: Path) -> None:
    """Leave of a checkpoint what older releases wrote."""
    arrays = {name: value for name, value in read_arrays(checkpoint).items() if name != BALANCED}
    np.savez(checkpoint, allow_pickle=False, **arrays)


@pytest.mark.slow
def test_a_search_whose_losses_were_on_another_scale_begins_anew(run: Path, tmp_path: Path) -> None:
    change(run, BALANCED_ACCURACY)
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    with opened(whole) as context:
        optimise.optimise(context, problem_of(context))
    with opened(run) as context, pytest.MonkeyPatch.context() as patch:
        # What an older release learned from other losses.
        patch.setattr(type(context.experiment.search), "balanced", False)
        patch.setattr(optimise, "steps_progress", killed_at(25, optimise.steps_progress))
        with pytest.raises(Killed):
            optimise.optimise(context, problem_of(context))
        forget_scale(context.files.optimiser_checkpoint("worst"))
    with opened(run) as context:
        optimise.optimise(context, problem_of(context))
    assert results(run) == results(whole)
