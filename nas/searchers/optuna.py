"""Optuna's samplers as searchers, behind the same free filter and without duplicates.

Akiba et al. 2019, "Optuna" (KDD, arXiv 1907.10902): TPE (Bergstra et al. 2011, arXiv 2304.11127) and NSGA-III (Deb &
Jain, IEEE TEVC 2014). Optuna treats constraints as soft and proposes duplicates; `FeasibilityFilter` takes care of
both. Needs the extra `optuna`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import InputError
from nas.searchers.archive import comparable
from nas.searchers.base import Genomes, Problem, Values
from nas.searchers.feasibility_filter import FeasibilityFilter, uniform

if TYPE_CHECKING:
    import optuna

#: Proposals drawn per genome wanted in each round of the filter.
_OVERSAMPLE = 2
_NEEDED_BY = "the searchers optuna_…"


class OptunaSearch:
    """Proposes what a sampler of Optuna proposes, in a study that holds the told genomes.

    `sampler` makes one from a seed. A trial is asked under a seed of the batch and dropped; what is told enters the
    study as a trial of its own. So the state depends on what was told alone, and a log resumes the search.
    """

    wants_prior = False

    def __init__(self, problem: Problem, sampler: Callable[[int], optuna.samplers.BaseSampler]) -> None:
        self._optuna = library(_NEEDED_BY)
        self._sizes = np.asarray(problem.sizes, dtype=np.int64)
        self._seed = problem.seed
        self._sampler = sampler
        self._filter = FeasibilityFilter(problem)
        self._study: optuna.Study | None = None
        distributions = self._optuna.distributions
        self._distributions: dict[str, Any] = {
            str(gene): distributions.IntDistribution(0, size - 1)
            if ordinal
            else distributions.CategoricalDistribution(list(range(size)))
            for gene, (size, ordinal) in enumerate(zip(self._sizes.tolist(), problem.ordinal.tolist(), strict=True))
        }

    def ask(self, n: int) -> Genomes:
        """See `Searcher.ask`."""
        rng = self._filter.generator()
        random = uniform(self._sizes)
        study = self._study
        if study is None:
            return self._filter.propose(rng, n, (random,))

        def proposals(rng: np.random.Generator, many: int, attempt: int) -> Genomes:
            return self._proposals(study, int(rng.integers(2**31)), _OVERSAMPLE * n)

        return self._filter.propose(rng, n, (proposals, random))

    def tell(self, genomes: Genomes, values: Values, violation: Values) -> None:
        """See `Searcher.tell`; the violation of the nearest budget becomes Optuna's constraint."""
        self._filter.add(genomes)
        if self._study is None:
            self._study = self._optuna.create_study(directions=["minimize"] * values.shape[1])
        study = self._study
        finite_values, distance = comparable(values, violation)
        finite = np.logical_and.reduce(np.isfinite(values), axis=1)
        for genome, row, known, far in zip(genomes, finite_values, finite, distance, strict=True):
            study.sampler = self._made(len(study.trials))
            study.enqueue_trial({str(gene): int(option) for gene, option in enumerate(genome)})
            trial = study.ask(self._distributions)
            if known:
                trial.set_constraint("budget", float(far))
                study.tell(trial, row.tolist())
            else:
                study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        # A genetic sampler selects parents when it is first asked: here, so that a log that is told selects the same.
        self._proposals(study, len(genomes), 1)

    def _proposals(self, study: optuna.Study, seed: int, n: int) -> Genomes:
        """Ask for n trials and drop them."""
        study.sampler = self._made(seed)
        trials = [study.ask(self._distributions) for _ in range(n)]
        for trial in trials:
            study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return np.array([[trial.params[name] for name in self._distributions] for trial in trials], dtype=np.int64)

    def _made(self, seed: int) -> optuna.samplers.BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            return self._sampler((self._seed * 1_000_003 + seed) % 2**32)


class TPE(OptunaSearch):
    """Optuna's tree-structured Parzen estimator; the first `startup` genomes are random."""

    def __init__(self, problem: Problem, *, startup: int = 10) -> None:
        samplers = library(_NEEDED_BY).samplers
        super().__init__(problem, lambda seed: samplers.TPESampler(seed=seed, n_startup_trials=startup))


class NSGA3(OptunaSearch):
    """Optuna's NSGA-III, for three objectives and more; `population` trials make a generation."""

    def __init__(self, problem: Problem, *, population: int = 50) -> None:
        if population < 2:
            raise InputError(f"optuna_nsga3: a population of {population} cannot breed; it takes at least 2")
        samplers = library(_NEEDED_BY).samplers
        super().__init__(problem, lambda seed: samplers.NSGAIIISampler(seed=seed, population_size=population))


def library(needed_by: str) -> Any:
    """The library, quiet; raises InputError, naming what it is needed by, where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise InputError(f"{needed_by} need Optuna, which is not installed: pip install hwnas[optuna]") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
