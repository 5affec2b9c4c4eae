"""Given genomes come first, in their order, and the searcher behind hears of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas import config, registry
from nas.searchers import SEARCHERS
from nas.searchers.seeded import Seeded
from tests.nas.searchers.conftest import Toy


def drive(toy: Toy, name: str, batches: tuple[int, ...], proposals: Any) -> list[np.ndarray]:
    part = config.part(name, "searcher", "searcher")
    searcher = Seeded(toy, registry.load(part.reference)(toy, **part.arguments), proposals)
    asked = []
    for n in batches:
        asked.append(searcher.ask(n))
        searcher.tell(asked[-1], *toy.evaluate(asked[-1]))
    return asked


@pytest.mark.parametrize("name", [name for name in SEARCHERS if not name.startswith("optuna")])
def test_every_searcher_goes_on_from_given_genomes(name: str, toy: Callable[..., Toy]) -> None:
    problem = toy()
    rng = np.random.default_rng(3)
    given = problem.canonical(rng.integers(problem.sizes, size=(7, len(problem.sizes))))
    asked = drive(problem, name, (5, 5, 5, 5), np.concatenate([given, given[:2]]))
    first = list(dict.fromkeys(map(tuple, given.tolist())))
    assert [tuple(row) for row in np.concatenate(asked)[: len(first)].tolist()] == first
    every = [tuple(row) for row in np.concatenate(asked).tolist()]
    assert len(set(every)) == len(every) > len(first), "what was given is not asked for again"


def test_the_inner_searcher_learns_from_them(toy: Callable[..., Toy]) -> None:
    """With the optimum among them, what is bred next lies closer to it than chance."""
    problem = toy(deep=True)
    best = np.zeros((1, len(problem.sizes)), np.int64)
    near = np.repeat(best, 8, axis=0)
    near[np.arange(1, 8), np.arange(7) % len(problem.sizes)] = 1
    asked = drive(problem, "regularised", (8, 8, 8, 8, 8, 8, 8, 8), near)
    chance = np.random.default_rng(0).integers(problem.sizes, size=(100, len(problem.sizes))).sum(axis=1).mean()
    assert asked[-1].sum(axis=1).mean() < chance
