"""The laws of searchers, for every entry of the registry; a new one is tested by its line there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from nas.searchers import SEARCHERS
from nas.testing import Law, laws_of
from nas.testing.problems import Chain
from nas.testing.searcher import Make, drive, rows

#: Optuna takes milliseconds per proposal; `test_optuna.py` is the short form of this contract for it.
EVERY = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith("optuna_") else name for name in sorted(SEARCHERS)
]


@pytest.fixture(params=EVERY)
def make(request: pytest.FixtureRequest) -> Make:
    if request.param.startswith("optuna_"):
        pytest.importorskip("optuna")
    module, name = SEARCHERS[request.param].split(":")
    made: Make = getattr(import_module(module), name)
    return made


@pytest.mark.parametrize("law", laws_of("searcher"), ids=str)
def test_it_keeps(law: Law[Any], make: Make) -> None:
    law(make)


def test_a_batch_without_genomes_may_be_told(make: Make) -> None:
    """Not a law: a run ends where nothing is asked. Ours take it all the same."""
    problem = Chain()
    searcher = make(problem)
    searcher.tell(none := searcher.ask(0), *problem.evaluate(none))
    assert len(searcher.ask(4)) == 4


def test_other_seeds_search_otherwise(make: Make) -> None:
    """Not a law: a searcher that draws nothing may ignore its seed. Ours draw."""
    one, other = (rows(drive(make, Chain(budgets=(12.0,), seed=seed), 8)) for seed in (3, 4))
    assert one != other
