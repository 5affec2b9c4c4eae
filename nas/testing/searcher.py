"""What every searcher promises; a law takes what makes one from a problem, such as the class itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from nas.searchers.base import Genomes, Problem, Searcher, TakesPrior
from nas.testing.laws import BrokenLaw, laws, require
from nas.testing.problems import Chain

Make = Callable[[Problem], Searcher]
Row = tuple[int, ...]


def ask(searcher: Searcher, n: int, genes: int) -> Genomes:
    """What a searcher asks for; raises BrokenLaw for anything but at most n rows of integers."""
    found: Any = searcher.ask(n)
    require(
        isinstance(found, np.ndarray),
        f"ask({n}) returned {'None' if found is None else type(found).__name__}",
        "return a numpy array of integers [at most n, genes], with no rows once the space is exhausted",
    )
    asked: Genomes = found
    require(
        asked.ndim == 2 and asked.shape[1] == genes and len(asked) <= n,
        f"ask({n}) returned an array of shape {asked.shape} for {genes} genes",
        "return one row per genome, at most n of them",
    )
    require(asked.dtype.kind in "iu", f"ask({n}) returned numbers of type {asked.dtype}", "return integers")
    return asked


def tell(searcher: Searcher, problem: Chain, genomes: Genomes) -> None:
    """Tell a batch, as a run does: one without genomes ends it instead."""
    if len(genomes):
        searcher.tell(genomes, *problem.evaluate(genomes))


def drive(make: Make, problem: Chain, batches: int, n: int = 32, told: Sequence[Genomes] = ()) -> list[Genomes]:
    """Batches that are asked and told, in order, after those that are `told` without being asked."""
    searcher, asked = make(problem), []
    for genomes in told:
        tell(searcher, problem, genomes)
    for _ in range(batches):
        genomes = ask(searcher, n, len(problem.sizes))
        tell(searcher, problem, genomes)
        asked.append(genomes)
    return asked


def rows(batches: Sequence[Genomes]) -> list[Row]:
    """All genomes of some batches."""
    return [tuple(row) for batch in batches for row in batch.tolist()]


def it_says_whether_it_wants_a_prior(make: Make) -> None:
    """`wants_prior` is True or False, and who wants one can take it"""
    problem = Chain()
    searcher: Any = make(problem)
    wants = getattr(searcher, "wants_prior", None)
    require(
        isinstance(wants, bool),
        "it has no `wants_prior`" if wants is None else f"`wants_prior` is {wants!r}",
        "write `wants_prior = False` in the class, or True and a method `take_prior`",
    )
    if not wants:
        return
    require(isinstance(searcher, TakesPrior), "it wants a prior and has no `take_prior`", "add the method")
    searcher.take_prior(tuple((1.0 / int(size),) * int(size) for size in problem.sizes), 3)
    require(
        len(ask(searcher, 8, len(problem.sizes))) == 8, "after a prior fewer genomes are asked for", "ask for as many"
    )


def what_is_asked_is_legal_canonical_and_new(make: Make) -> None:
    """What is asked for is within the options, canonical, and never asked for twice, whatever the budgets"""
    for budgets in ((), (np.inf,), (9.0,), (3.0, 14.0)):
        problem = Chain(budgets=budgets)
        asked = drive(make, problem, 12)
        genomes = np.concatenate(asked)
        outside = genomes[((genomes < 0) | (genomes >= problem.sizes)).any(axis=1)]
        require(
            not len(outside),
            f"genome {outside[:1].tolist()} is outside the options {problem.sizes.tolist()}",
            "draw each gene from 0 to its size, exclusive",
        )
        other = genomes[(problem.canonical(genomes) != genomes).any(axis=1)]
        require(
            not len(other), f"genome {other[:1].tolist()} is not canonical", "ask for `problem.canonical` of genomes"
        )
        require(
            len(set(rows(asked))) == len(genomes),
            f"of {len(genomes)} genomes {len(genomes) - len(set(rows(asked)))} were asked for before",
            "remember what was asked, or propose through `nas.searchers.feasibility_filter.FeasibilityFilter`",
        )
        require(
            [len(batch) for batch in asked] == [32] * 12,
            f"batches of 32 in a space of thousands have {[len(batch) for batch in asked]} genomes",
            "ask for as many as are wanted while the space has them",
        )


def as_many_as_wanted(make: Make) -> None:
    """As many genomes are asked for as are wanted: none, one, or a hundred"""
    for n in (0, 1, 7, 100):
        found = len(ask(make(Chain()), n, 7))
        require(found == n, f"ask({n}) returned {found} genomes", "return n while the space has them")


def asking_twice_gives_other_genomes(make: Make) -> None:
    """Asking twice without telling gives other genomes"""
    searcher = make(Chain())
    different = len(set(rows([ask(searcher, 20, 7), ask(searcher, 20, 7)])))
    require(different == 40, f"of 40 genomes {different} are different", "remember what was asked")


def equal_seeds_search_equally(make: Make) -> None:
    """Equal seeds search equally"""
    problem = Chain(budgets=(12.0,), seed=3)
    same = rows(drive(make, problem, 8)) == rows(drive(make, problem, 8))
    require(same, "two searches with seed 3 ask for different genomes", "draw from `problem.seed` alone")


def telling_a_log_resumes_the_search(make: Make) -> None:
    """A searcher that is told the batches of a log asks for what came next, wherever the log ends"""
    for budgets in ((12.0,), (2.0,), (-1.0,)):
        problem = Chain(budgets=budgets, options=4)
        whole = drive(make, problem, 12, n=16)
        for done in (0, 1, 2, 5, 9):
            resumed = drive(make, problem, 12 - done, n=16, told=whole[:done])
            require(
                rows(resumed) == rows(whole[done:]),
                f"after {done} of 12 batches that were told, others are asked for",
                "let the state follow from the seed and what was told, not from what was asked",
            )


def a_torn_batch_is_asked_again(make: Make) -> None:
    """A batch that was asked and never told is asked again, and is the same"""
    problem = Chain(budgets=(12.0,))
    searcher, told = make(problem), []
    for _ in range(4):
        told.append(ask(searcher, 32, 7))
        tell(searcher, problem, told[-1])
    torn = ask(searcher, 32, 7)
    again = drive(make, problem, 1, told=told)[0]
    require(
        np.array_equal(again, torn),
        "after the same log another batch is asked for",
        "let `ask` leave the state",
    )


def budgets_are_kept(make: Make) -> None:
    """Only what keeps a budget is asked for, and of two budgets the larger one is used too"""
    for budgets in ((10.0,), (10.0, 3.0), (3.0, 10.0)):
        problem = Chain(budgets=budgets)
        latency = problem.latency(np.concatenate(drive(make, problem, 10)))
        require(
            (latency <= 10).all(),
            f"{int((latency > 10).sum())} of {len(latency)} genomes keep none of the budgets {budgets}",
            "leave out what `problem.free_objectives` says keeps no budget, or propose through "
            "`nas.searchers.feasibility_filter.FeasibilityFilter`",
        )
        require((latency > 3).any(), f"with budgets {budgets} nothing above 3 is asked for", "any budget kept will do")


def a_budget_that_sampling_never_meets_is_met(make: Make) -> None:
    """A budget that one genome in 10^22 keeps is kept by all that is asked for"""
    problem = Chain(depth=24, options=20, budgets=(12.0,), deep=True)
    asked = drive(make, problem, 3)
    over = int((problem.latency(np.concatenate(asked)) > 12).sum())
    require(over == 0, f"{over} of 96 genomes break the budget", "descend into it, as `FeasibilityFilter` does")
    require(len(set(rows(asked))) == 96, f"of 96 genomes {len(set(rows(asked)))} are different", "ask for new ones")


def a_small_space_is_exhausted(make: Make) -> None:
    """A small space is asked to its last genome, and then nothing"""
    problem = Chain(depth=2, options=3, budgets=(3.0,))
    everything = np.stack(np.unravel_index(np.arange(18), (2, 3, 3)), axis=1)
    fitting = {tuple(genome) for genome in problem.canonical(everything).tolist() if sum(genome) <= 3}
    searcher, asked = make(problem), []
    for _ in range(5):
        asked.append(ask(searcher, 4, 3))
        tell(searcher, problem, asked[-1])
    found = rows(asked)
    require(
        set(found) == fitting and len(found) == len(fitting),
        f"{len(set(found) & fitting)} of the {len(fitting)} genomes within the budget were asked for",
        "enumerate a small space when drawing finds nothing new",
    )
    require(not len(ask(searcher, 4, 3)), "more is asked for when all was", "return an array without rows")


def where_nothing_fits_the_nearest_is_asked(make: Make) -> None:
    """Where nothing keeps the budget the genomes nearest to it are asked for"""
    problem = Chain(budgets=(-1.0,), options=4)
    asked = drive(make, problem, 2, n=8)
    require(len(set(rows(asked))) == 16, f"of 16 genomes {len(set(rows(asked)))} are different", "ask for new ones")
    require(
        asked[0].sum(axis=1).max() <= 3,
        f"a genome of latency {asked[0].sum(axis=1).max()} is asked for where some have less than 4",
        "ask for the least violation first",
    )
    large = Chain(depth=24, options=20, budgets=(-1.0,), deep=True)
    slowest = int(drive(make, large, 1, n=4)[0].sum(axis=1).max())
    require(slowest < 40, f"a genome of latency {slowest} is asked for; uniform ones have 228", "descend")


def failed_evaluations_do_no_harm(make: Make) -> None:
    """Values that are not finite, of evaluations that failed, do no harm"""
    problem = Chain()
    searcher = make(problem)
    for number in range(6):
        genomes = ask(searcher, 32, 7)
        values, violation = problem.evaluate(genomes)
        values[number::6] = np.nan
        searcher.tell(genomes, values, violation)
    require(len(ask(searcher, 32, 7)) == 32, "after failures fewer genomes are asked for", "leave them out")


def moving_the_budget_moves_the_result(make: Make) -> None:
    """The best loss falls as the budget rises, and the network that reaches it uses the room that it was given"""
    found = []
    for budget in (6.0, 16.0, 40.0):
        problem = Chain(budgets=(budget,))
        searcher, best = make(problem), 0.0
        for _ in range(20):
            genomes = ask(searcher, 32, 7)
            if not len(genomes):
                break
            latency = problem.latency(genomes)
            searcher.tell(genomes, -latency[:, None], problem.free_objectives(genomes)[1])
            best = max(best, float(latency[latency <= budget].max(initial=0.0)))
        found.append(best)
    if found[:2] != [6, 16] or not 30 <= found[2] <= 40:
        raise BrokenLaw(
            f"where more is better and budgets are 6, 16 and 40, the best that was asked for has {found}; "
            "look near the best of what was told, within the budget"
        )


def subject(make: Make) -> tuple[Make, str]:
    """What laws take: what makes a searcher, tried once."""
    make(Chain())
    return make, ""


LAWS: Final = laws(
    it_says_whether_it_wants_a_prior,
    as_many_as_wanted,
    asking_twice_gives_other_genomes,
    what_is_asked_is_legal_canonical_and_new,
    equal_seeds_search_equally,
    telling_a_log_resumes_the_search,
    a_torn_batch_is_asked_again,
    failed_evaluations_do_no_harm,
    budgets_are_kept,
    a_small_space_is_exhausted,
    where_nothing_fits_the_nearest_is_asked,
    a_budget_that_sampling_never_meets_is_met,
    moving_the_budget_moves_the_result,
)
