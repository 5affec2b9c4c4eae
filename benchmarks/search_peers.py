"""Outside searchers behind the interface that the search benchmarks use, each with a free filter around it.

An algorithm that has to keep a hard budget would be a straw man without it: proposals beyond the budget, and those
evaluated before, are drawn again, up to `tries` rounds per network, and then replaced by a random network within the
budget. pymoo (Blank & Deb 2020) and Optuna (Akiba et al. 2019) are imported when they are used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.searchers.base import Genomes, Problem, least_violation

#: Rounds of proposals per network asked for. Eight left four in ten of TPE's networks to the fall-back.
TRIES = 64


class Peer(Protocol):
    """An outside searcher that minimises one error."""

    def propose(self) -> Genomes:
        """Proposals [n, G], n as the algorithm likes, filtered by nobody."""
        ...

    def hear(self, genomes: Genomes, errors: NDArray[np.float64]) -> None:
        """Learn the errors [n] of evaluated genomes, which proposals made first come first."""
        ...


class Filtered:
    """A peer with the free filter, removal of duplicates and a random fall-back around it."""

    def __init__(self, peer: Peer, problem: Problem, feasible: Genomes, tries: int = TRIES) -> None:
        self._peer, self._tries = peer, tries
        self._problem = problem
        self._rng = np.random.default_rng((problem.seed, 1))
        self._random = self._rng.permutation(feasible)
        self._asked: set[bytes] = set()
        #: Networks that the fall-back gave.
        self.fallen_back = 0

    def ask(self, size: int) -> Genomes:
        """At most `size` new genomes within the budget; random ones where the peer proposes none."""
        found: list[NDArray[np.int64]] = []
        for _ in range(self._tries * size):
            if len(found) >= size:
                break
            proposals = self._problem.canonical(self._peer.propose()).astype(np.int64)
            within = least_violation(self._problem.free_objectives(proposals)[1]) == 0
            found += [row for row in proposals[within] if self._new(row)]
        for row in self._random:
            if len(found) >= size:
                break
            if self._new(row):
                found.append(row)
                self.fallen_back += 1
        for row in found[size:]:
            self._asked.discard(row.tobytes())
        return np.array(found[:size], dtype=np.int64).reshape(-1, len(self._problem.sizes))

    def tell(self, genomes: Genomes, errors: NDArray[np.float64]) -> None:
        """See `Peer.hear`."""
        self._peer.hear(genomes, errors)

    def _new(self, row: NDArray[np.int64]) -> bool:
        key = row.tobytes()
        if key in self._asked:
            return False
        self._asked.add(key)
        return True


class OptunaPeer:
    """A sampler of Optuna; every evaluated genome enters its study as a trial, as do failed ones that were filtered."""

    def __init__(self, problem: Problem, make: Callable[[int], Any]) -> None:
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self._failed = optuna.trial.TrialState.FAIL
        distributions = optuna.distributions
        self._distributions: dict[str, distributions.BaseDistribution] = {
            str(gene): distributions.IntDistribution(0, int(size) - 1)
            if ordinal
            else distributions.CategoricalDistribution(list(range(size)))
            for gene, (size, ordinal) in enumerate(zip(problem.sizes, problem.ordinal, strict=True))
        }
        self._study = optuna.create_study(sampler=make(problem.seed))
        self._open: dict[bytes, Any] = {}

    def propose(self) -> Genomes:
        """See `Peer`."""
        trial = self._study.ask(self._distributions)
        row = np.array([[trial.params[name] for name in self._distributions]], dtype=np.int64)
        if row.tobytes() in self._open:
            self._study.tell(trial, state=self._failed)
        else:
            self._open[row.tobytes()] = trial
        return row

    def hear(self, genomes: Genomes, errors: NDArray[np.float64]) -> None:
        """See `Peer`."""
        for row, error in zip(genomes, errors.tolist(), strict=True):
            trial = self._open.pop(row.astype(np.int64).tobytes(), None)
            if trial is None:
                self._study.enqueue_trial({str(gene): int(option) for gene, option in enumerate(row)})
                trial = self._study.ask(self._distributions)
            self._study.tell(trial, error)
        for trial in self._open.values():
            self._study.tell(trial, state=self._failed)
        self._open.clear()


class PymooPeer:
    """pymoo's NSGA-II as its documentation sets it up for integers and choices; one objective, whole generations."""

    def __init__(self, problem: Problem, population: int) -> None:
        from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival
        from pymoo.core.mixed import MixedVariableGA
        from pymoo.core.problem import Problem as PymooProblem
        from pymoo.core.variable import Choice, Integer

        self._names = [str(gene) for gene in range(len(problem.sizes))]
        variables = {
            name: Integer(bounds=(0, int(size) - 1)) if ordinal else Choice(options=list(range(int(size))))
            for name, size, ordinal in zip(self._names, problem.sizes, problem.ordinal, strict=True)
        }
        self._algorithm = MixedVariableGA(pop_size=population, survival=RankAndCrowdingSurvival())
        outline = PymooProblem(vars=variables, n_obj=1)
        self._algorithm.setup(outline, termination=("n_gen", 10**6), seed=problem.seed, verbose=False)
        self._waiting: list[tuple[Genomes, NDArray[np.float64]]] = []
        self._population = population

    def propose(self) -> Genomes:
        """See `Peer`."""
        found = self._algorithm.infill()
        return np.array([[int(x[name]) for name in self._names] for x in found.get("X")], dtype=np.int64)

    def hear(self, genomes: Genomes, errors: NDArray[np.float64]) -> None:
        """See `Peer`; the algorithm advances by whole generations."""
        from pymoo.core.evaluator import Evaluator
        from pymoo.core.population import Population
        from pymoo.problems.static import StaticProblem

        self._waiting.append((genomes, errors))
        if sum(len(rows) for rows, _ in self._waiting) < self._population:
            return
        rows = np.concatenate([rows for rows, _ in self._waiting])
        values = np.concatenate([values for _, values in self._waiting])
        self._waiting.clear()
        named = np.array([dict(zip(self._names, row, strict=True)) for row in rows.tolist()], dtype=object)
        generation = Population.new("X", named)
        Evaluator().eval(StaticProblem(self._algorithm.problem, F=values[:, None]), generation)
        self._algorithm.advance(infills=generation)


#: Name -> (what to install, the peer for a problem, genomes it is asked for at a time).
PEERS: dict[str, tuple[str, Callable[[Problem], Peer], int]] = {
    "pymoo_nsga2": ("pymoo", lambda problem: PymooPeer(problem, 20), 20),
    "optuna_nsga2": ("optuna", lambda problem: OptunaPeer(problem, _nsga2), 1),
    "optuna_tpe": ("optuna", lambda problem: OptunaPeer(problem, _tpe), 1),
}


def _nsga2(seed: int) -> Any:
    import optuna

    return optuna.samplers.NSGAIISampler(population_size=20, seed=seed)


def _tpe(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)
