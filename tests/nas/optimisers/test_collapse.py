"""What counts as left out, and when a search is said to have collapsed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.additive import compile as compile_tables
from latency_models.roofline import Roofline
from nas.optimisers.collapse import compare, left_out, statement
from nas.optimisers.cost import of_tables
from search_spaces.lightnas import lightnas
from search_spaces.mobile import mobile
from search_spaces.nasbench201 import nasbench201
from search_spaces.slots import random_genomes, sizes
from search_spaces.staged import Stage

SPACE = mobile(
    (1, 8, 8), 4, "8x8", stages=(Stage((6, 8), (1, 2, 3), 2, {"kernel": (3,), "expansion": (1, 2), "se": (False,)}),)
)
MODEL = Roofline(load("jetson_xavier_nx"), Target("jetson_xavier_nx", "onnxruntime"))
COMPILED = compile_tables(SPACE, MODEL)
TABLES, MACS = COMPILED.seconds, COMPILED.tables("macs")


class Problem:
    seed = 0
    sizes = sizes(SPACE)
    ordinal = np.array([gene.ordinal for gene in SPACE.genes])

    def canonical(self, genomes: np.ndarray) -> np.ndarray:
        return SPACE.canonical(genomes)

    def active(self, genomes: np.ndarray) -> np.ndarray:
        return SPACE.active(genomes)

    def free_objectives(self, genomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return TABLES.total(genomes)[:, None], np.zeros((len(genomes), 1))


def test_the_share_follows_the_depth() -> None:
    genomes = SPACE.canonical(random_genomes(SPACE, 64, np.random.default_rng(0)))
    kernels = np.array([len(SPACE.decode(genome).ops) for genome in genomes])
    shares = left_out(MACS, genomes)
    assert set(np.round(shares, 6)) == {0.0, 0.5, 1.0}, "two of the three blocks may be left out"
    assert kernels[shares == 1].mean() < kernels[shares == 0.5].mean() < kernels[shares == 0].mean()


def test_a_space_without_optional_slots_leaves_nothing_out() -> None:
    space = mobile(
        (1, 8, 8), 4, "8x8", stages=(Stage((6,), (1,), 2, {"kernel": (3,), "expansion": (1, 2), "se": (False,)}),)
    )
    macs = compile_tables(space, MODEL).tables("macs")
    assert left_out(macs, random_genomes(space, 5, np.random.default_rng(0))).tolist() == [0.0] * 5


def test_a_network_is_compared_with_those_that_take_as_long() -> None:
    cost, problem = of_tables(TABLES), Problem()
    genomes = SPACE.canonical(random_genomes(SPACE, 500, np.random.default_rng(0)))
    seconds, shares = cost.seconds(genomes), left_out(MACS, genomes)
    slow, fast = float(seconds.max()), float(np.quantile(seconds, 0.3))
    bare = genomes[shares.argmax()]
    at_ease, pressed = (compare(problem, MACS, cost, limit, bare) for limit in (slow, fast))
    assert at_ease["left_out"] == pressed["left_out"] == 1.0
    assert at_ease["left_out_random"] < pressed["left_out_random"], "a tight limit leaves layers out by itself"


def test_statements() -> None:
    fine = {"left_out": 0.6, "left_out_random": 0.5, "left_out_random_95": 0.7, "entropy_mean": 0.4}
    assert statement(fine) == ""
    assert statement(fine | {"left_out": 0.9}).startswith("collapsed: 90%")
    assert statement(fine | {"loss_explained": 0.05, "loss_explained_chance": 0.1}).startswith("undecided: ")
    assert statement(fine | {"loss_explained": 0.3, "loss_explained_chance": 0.1}) == ""
    assert statement(fine | {"left_out": 0.4, "left_out_random_95": 0.0}) == "", "less than half is no collapse"


@pytest.mark.parametrize(("make", "name"), [(lightnas, "skip"), (nasbench201, "skip_connect"), (nasbench201, "none")])
def test_skips_of_choice_spaces_are_layers_left_out(make: Any, name: str) -> None:
    """A skip is an operator there, and present; it has no arithmetic all the same."""
    space = make((3, 32, 32), 10)
    macs = compile_tables(space, MODEL).tables("macs")
    places = [gene.options.index(name) if name in gene.options else 0 for gene in space.genes]
    able = np.array([name in gene.options for gene in space.genes])
    skipping = np.array(places)
    working = np.array([len(gene.options) - 1 if name in gene.options else 0 for gene in space.genes])
    working[able] = [
        next(i for i, option in enumerate(gene.options) if "conv" in str(option) or str(option).startswith("k"))
        for gene in space.genes
        if name in gene.options
    ]
    shares = left_out(macs, space.canonical(np.stack([skipping, working])))
    assert shares.tolist() == [1.0, 0.0]
