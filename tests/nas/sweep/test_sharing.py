"""Cells share weights exactly where the stage that trains them would read the same."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.config import parse, plain_yaml
from nas.config.settings import Experiment
from nas.errors import InputError
from nas.process.events import Voice
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.opening import materials
from nas.run.reuse import weights_depend_on
from nas.run.supernet import planned_supernet
from nas.sweep.cells import cells_of
from nas.sweep.sharing import Planned, planned, reusing
from nas.sweep.sweep_file import load
from tests.nas.small_runs import small
from tests.nas.sweep.small_sweeps import write_sweep


def experiment(*changes: str) -> Experiment:
    data = small(space={"name": "toy", "width": 4, "max_exits": 1}, splits={})
    for change in changes:
        plain_yaml.override(data, change)
    return parse.experiment(data)


@cache
def read_by_the_stage(*changes: str) -> Any:
    """All that `nas.stages.supernet` is given: images and labels, how they are prepared, space, recipe and seed."""
    given = experiment(*changes)
    found = materials(given)
    context = Context(given, RunFolder.shared(Path()), found.data, found.space, {}, Voice())
    trainer = planned_supernet(context)
    images, labels = found.data.splits.fingerprints["train"], found.data.labels("train")
    return (
        images.tobytes(), labels.tobytes(), found.data.preprocessing, found.space.name, found.space.genes,
        found.space.decode(np.zeros(len(found.space.genes), int)).key, trainer.recipe, context.seed("supernet"),
        given.supernet.augment, given.supernet.random_subnets,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        "seed=1", "space.width=8", "splits.val=0.3", "splits.arch=0.05",
        "supernet.epochs=3", "supernet.batch_size=32", "supernet.learning_rate=0.2", "supernet.weight_decay=0",
        "supernet.label_smoothing=0", "supernet.random_subnets=2", "supernet.augment=false",
        "budgets.0.latency=1 ms", "target.threads=2", "search.evaluations=3", "search.searcher=random",
        "search.images=100", "winners.epochs=3", "winners.batch_size=32", "verify.blocks=5", "calibration.networks=3",
        "name=other", "latency_model=flops",
    ],
)  # fmt: skip
def test_cells_share_exactly_where_the_stage_reads_the_same(change: str) -> None:
    same = read_by_the_stage() == read_by_the_stage(change)
    assert (weights_depend_on(experiment()) == weights_depend_on(experiment(change))) == same


@pytest.mark.parametrize(
    ("optimiser", "groups"),
    [
        ({"name": "differentiable"}, 2),
        ({"name": "differentiable", "share": 0}, 1),
        ({"name": "loss_regression"}, 1),
        (None, 1),
    ],
)
def test_weights_that_serve_what_a_search_prefers_are_trained_for_its_budget(
    optimiser: dict[str, Any] | None, groups: int, tmp_path: Path
) -> None:
    base = small(splits={})
    base["search"] |= {"optimiser": optimiser}
    found = sweep(tmp_path, {"budgets.0.latency": ["1 ms", "2 ms"]}, base)
    assert len({cell.group for cell in found.values()}) == groups


def test_every_key_of_the_supernet_section_is_compared() -> None:
    """Where one is added, it is not forgotten."""
    compared = json.loads(weights_depend_on(experiment("supernet.max_time=1 h")))["supernet"]
    settings = experiment("supernet.max_time=1 h").supernet
    assert len(compared) == len(dataclasses.fields(settings)) and compared["max_time"] == "3600.0 s"


def sweep(path: Path, axes: Any, base: dict[str, Any] | None = None) -> dict[str, Planned]:
    return {cell.name: cell for cell in planned(cells_of(load(write_sweep(path, axes, base))))}


def test_cells_behind_the_supernet_share_one(tmp_path: Path) -> None:
    axes = {"seed": [0, 1], "budgets.0.latency": ["2 ms", "4 ms"], "target.threads": [1, 2]}
    found = sweep(tmp_path, axes)
    assert {name: cell.group for name, cell in found.items()} == {
        f"seed-{seed}_latency-{ms}ms_threads-{threads}": seed + 1
        for seed in (0, 1)
        for ms in (2, 4)
        for threads in (1, 2)
    }
    assert not any(cell.kept_aside for cell in found.values())


def test_images_are_cut_for_all_that_share(tmp_path: Path) -> None:
    """One cell's optimiser learns from images that another cell would have trained on."""
    search = small()["search"]
    axes = {"search": [search, {**search, "optimiser": "loss_regression"}], "winners.epochs": [1, 2]}
    found = list(sweep(tmp_path, axes, small(splits={})).values())
    assert [cell.group for cell in found] == [1] * 4
    assert [cell.kept_aside for cell in found] == [("arch",), ("arch",), (), ()]
    assert {cell.cell.experiment.parts_aside for cell in found} == {frozenset({"arch"})}
    alone = sweep(tmp_path, {"winners.epochs": [1, 2]}, small(splits={}))
    assert {cell.cell.experiment.parts_aside for cell in alone.values()} == {frozenset()}


@pytest.mark.parametrize("share", [0, 0.5])
def test_weights_that_are_trained_in_turns_with_a_search_are_of_one_cell(share: float, tmp_path: Path) -> None:
    """What they become hangs on the budgets, and on latencies that each cell measures."""
    search = {**small()["search"], "optimiser": {"name": "differentiable", "share": share}}
    found = list(sweep(tmp_path, {"winners.epochs": [1, 2], "search": [search, small()["search"]]}).values())
    assert [cell.group for cell in found] == ([1, 2, 3, 2] if share else [1, 1, 1, 1])


def test_an_optimiser_that_cannot_be_made_is_said_with_its_cell(tmp_path: Path) -> None:
    search = {**small()["search"], "optimiser": {"name": "differentiable", "steps": -1}}
    with pytest.raises(InputError, match=r"cell .*: search.optimiser: differentiable cannot be made"):
        sweep(tmp_path, {"search": [small()["search"], search]})


def test_a_part_without_images_is_kept_from_nobody(tmp_path: Path) -> None:
    axes = {"splits": [{"cert": 0}, {"cert": 0, "reserve": ["arch"]}, {"reserve": ["cert"]}]}
    found = list(sweep(tmp_path, axes, small(splits={})).values())
    assert [(cell.group, cell.kept_aside) for cell in found] == [(1, ("arch",)), (1, ()), (2, ())]


def test_nothing_is_shared_where_nothing_is_trained(tmp_path: Path) -> None:
    search = {**small()["search"], "evaluator": {"name": "train", "epochs": 1}}
    base = small(search=search, winners={"epochs": 1, "training": "scratch"})
    assert [cell.group for cell in sweep(tmp_path, {"winners.epochs": [1, 2]}, base).values()] == [None, None]
    taken = small(supernet={"reuse": "elsewhere"})
    assert [cell.group for cell in sweep(tmp_path, {"winners.epochs": [1, 2]}, taken).values()] == [None, None]


def test_weights_of_another_run_are_trained_as_ones_own() -> None:
    assert weights_depend_on(reusing(experiment(), "there")) == weights_depend_on(experiment())
