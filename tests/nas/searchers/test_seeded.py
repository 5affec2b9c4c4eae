"""Given genomes come first, in their order, and the searcher behind hears of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas.config import parse
from nas.config.kinds import SEARCHER
from nas.searchers import SEARCHERS
from nas.searchers.seeded import Seeded
from nas.testing.problems import Chain


def drive(toy: Chain, name: str, batches: tuple[int, ...], proposals: Any) -> list[np.ndarray]:
    part = parse.component(name, SEARCHER, "searcher")
    searcher = Seeded(toy, part.load()(toy, **part.arguments), proposals)
    asked = []
    for n in batches:
        asked.append(searcher.ask(n))
        searcher.tell(asked[-1], *toy.evaluate(asked[-1]))
    return asked


@pytest.mark.parametrize("name", [name for name in SEARCHERS if not name.startswith("optuna")])
def test_every_searcher_goes_on_from_given_genomes(name: str, toy: Callable[..., Chain]) -> None:
    problem = toy()
    rng = np.random.default_rng(3)
    given = problem.canonical(rng.integers(problem.sizes, size=(7, len(problem.sizes))))
    asked = drive(problem, name, (5, 5, 5, 5), np.concatenate([given, given[:2]]))
    first = list(dict.fromkeys(map(tuple, given.tolist())))
    assert [tuple(row) for row in np.concatenate(asked)[: len(first)].tolist()] == first
    every = [tuple(row) for row in np.concatenate(asked).tolist()]
    assert len(set(every)) == len(every) > len(first), "what was given is not asked for again"


class Recorder:
    """Remembers what it hears, and asks for one genome after the other."""

    def __init__(self) -> None:
        self.told: list[tuple[int, ...]] = []

    def ask(self, n: int) -> np.ndarray:
        return np.full((n, 7), 5)

    def tell(self, genomes: np.ndarray, values: np.ndarray, violation: np.ndarray) -> None:
        self.told += [tuple(row) for row in genomes.tolist()]


def test_the_inner_searcher_hears_of_them(toy: Callable[..., Chain]) -> None:
    problem, inner = toy(deep=True), Recorder()
    given = np.arange(5)[:, None].repeat(7, axis=1)
    searcher = Seeded(problem, inner, given)
    first, second = searcher.ask(3), searcher.ask(3)
    assert first.tolist() == given[:3].tolist() and second.tolist() == given[3:].tolist(), "none is asked for twice"
    for batch in (first, second):
        searcher.tell(batch, *problem.evaluate(batch))
    assert inner.told == [tuple(row) for row in given.tolist()]
    assert searcher.ask(2).tolist() == [[5] * 7] * 2
