"""What every optimiser of architectures promises; a law takes the optimiser."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from nas.errors import NothingFits
from nas.optimisers.base import ArchitectureOptimiser, Cost, Ints, Loss, SearchResult, Steps, legal
from nas.optimisers.cost import Additive
from nas.testing.laws import BrokenLaw, laws, require
from nas.testing.problems import Choices, Noisy, Opaque, chained, padded

#: Where gene 0 is 0, the last two genes have no effect.
PROBLEM: Final = Choices((3, 4, 4, 3, 4), optional=(3, 4))
#: Of the slowest network, what the limit allows.
_SHARE: Final = 0.6


def _cost() -> Additive:
    return chained(PROBLEM, np.random.default_rng(1))


def _limit_s(cost: Cost, share: float = _SHARE) -> float:
    seconds = cost.seconds(PROBLEM.every())
    return float(seconds.min() + share * (seconds.max() - seconds.min()))


def _loss(**changes: Any) -> Noisy:
    """A loss that slower options lower on the whole, so that the limit binds."""
    options = legal(PROBLEM)
    latency_effect = _cost().marginal(options / options.sum(axis=1, keepdims=True))
    return Noisy(2.0 * latency_effect + 0.1 * padded(PROBLEM, np.random.default_rng(2)), noise=0.1, **changes)


def _drive(search: Steps, loss: Loss, begin: int, end: int) -> list[Ints]:
    genomes = []
    for step in range(begin, end):
        genome: Any = search.sample(step)
        require(
            isinstance(genome, np.ndarray) and genome.shape == (len(PROBLEM.sizes),) and genome.dtype.kind in "iu",
            f"sample({step}) returned {genome!r}",
            f"return one genome, an array of {len(PROBLEM.sizes)} integers",
        )
        require(
            (genome >= 0).all()
            and (genome < PROBLEM.sizes).all()
            and np.array_equal(PROBLEM.canonical(genome[None])[0], genome),
            f"sample({step}) is {genome.tolist()}",
            "return a canonical genome within the options",
        )
        search.update(genome, step, loss(genome, step))
        genomes.append(genome)
    return genomes


def _whole(optimiser: ArchitectureOptimiser, cost: Cost, loss: Loss, share: float = _SHARE) -> SearchResult:
    limit_s = _limit_s(cost, share)
    search: Any = optimiser.begin(PROBLEM, cost, limit_s)
    steps = getattr(search, "steps", None)
    require(isinstance(steps, int) and steps > 0, f"`steps` of what `begin` returns is {steps!r}", "say how many")
    _drive(search, loss, 0, search.steps)
    return _sound(search.result(), cost, limit_s)


def _sound(found: Any, cost: Cost, limit_s: float) -> SearchResult:
    """The result, after checking that it keeps the limit and says what it means."""
    require(isinstance(found, SearchResult), f"result() returned {type(found).__name__}", "return a `SearchResult`")
    result: SearchResult = found
    proposals = result.proposals
    require(
        proposals.ndim == 2 and len(proposals) and np.array_equal(PROBLEM.canonical(proposals), proposals),
        f"the proposals have shape {proposals.shape}, or are not canonical",
        "propose at least one canonical genome [n, genes]",
    )
    require(
        np.allclose(result.seconds, cost.seconds(proposals)) and (result.seconds <= limit_s).all(),
        f"the proposals take {np.asarray(result.seconds).tolist()} s and the limit is {limit_s} s",
        "derive them with `optimisers.derive`, which keeps the limit",
    )
    shares, options = result.probabilities, legal(PROBLEM)
    require(
        shares.shape == options.shape and (shares[~options] == 0).all() and np.allclose(shares.sum(axis=1), 1),
        f"the probabilities have shape {shares.shape}, or do not sum to 1 over each gene's options",
        "give a distribution over the options of each gene, 0 where there is none",
    )
    return result


def it_proposes_what_keeps_the_limit(optimiser: ArchitectureOptimiser) -> None:
    """From begin to end it asks for canonical networks, and leaves proposals within the limit and a distribution"""
    _whole(optimiser, _cost(), _loss())


def seconds_need_not_add_up(optimiser: ArchitectureOptimiser) -> None:
    """Seconds that nobody can look into will do, and losses without gradients"""
    cost = _cost()
    _whole(optimiser, Opaque(lambda genomes: cost.seconds(genomes) ** 2), _loss(gradient=False))


def equal_seeds_find_equal_networks(optimiser: ArchitectureOptimiser) -> None:
    """The same arguments and losses give the same result"""
    one, other = (_whole(optimiser, _cost(), _loss()) for _ in range(2))
    require(
        np.array_equal(one.proposals, other.proposals) and np.array_equal(one.probabilities, other.probabilities),
        "two searches with equal seeds end differently",
        "draw from `problem.seed` and the step alone",
    )


def a_killed_search_goes_on(optimiser: ArchitectureOptimiser) -> None:
    """A search goes on from a stored state to the same end"""
    cost, loss = _cost(), _loss()
    limit_s = _limit_s(cost)
    whole = optimiser.begin(PROBLEM, cost, limit_s)
    end = min(whole.steps, 120)
    genomes = _drive(whole, loss, 0, end)
    for stop in (0, end // 3):
        first, second = (optimiser.begin(PROBLEM, cost, limit_s) for _ in range(2))
        _drive(first, loss, 0, stop)
        file = io.BytesIO()
        arrays: dict[str, Any] = dict(first.state())
        np.savez(file, **arrays)
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            second.restore({name: stored[name] for name in stored.files})
        require(
            np.array_equal(_drive(second, loss, stop, end), genomes[stop:]),
            f"from the state after {stop} steps other networks are asked for",
            "put all that was learned into `state`, as arrays",
        )


def failed_losses_do_no_harm(optimiser: ArchitectureOptimiser) -> None:
    """Losses that are not finite, of steps that diverged, do no harm"""
    result = _whole(optimiser, _cost(), _loss(failing=frozenset(range(3, 10_000, 10))))
    require(np.isfinite(result.probabilities).all(), "the probabilities are not finite", "leave such steps out")


def moving_the_limit_moves_the_result(optimiser: ArchitectureOptimiser) -> None:
    """Where slower networks are better, a larger limit gives a slower and better one"""
    loss = _loss()
    firsts = [_whole(optimiser, _cost(), loss, share) for share in (0.25, 0.5, 0.75)]
    seconds = [float(result.seconds[0]) for result in firsts]
    worth = [float(loss.utility[np.arange(len(PROBLEM.sizes)), result.proposals[0]].sum()) for result in firsts]
    require(
        seconds == sorted(set(seconds)) and worth[0] < worth[2],
        f"limits of a quarter, half and three quarters give networks of {seconds} s",
        "prefer what lowers the loss, and use what the limit allows",
    )


def what_fits_nothing_is_said(optimiser: ArchitectureOptimiser) -> None:
    """A limit that no network keeps ends with NothingFits"""
    cost = _cost()
    try:
        search = optimiser.begin(PROBLEM, cost, 0.5 * float(cost.seconds(PROBLEM.every()).min()))
        _drive(search, _loss(), 0, search.steps)
        search.result()
    except NothingFits:
        return
    raise BrokenLaw("half the seconds of the fastest network are a limit, and a result is returned; raise NothingFits")


def subject(make: Callable[[], ArchitectureOptimiser]) -> tuple[ArchitectureOptimiser, str]:
    """The optimiser that laws take."""
    return make(), ""


LAWS: Final = laws(
    it_proposes_what_keeps_the_limit,
    seconds_need_not_add_up,
    equal_seeds_find_equal_networks,
    a_killed_search_goes_on,
    failed_losses_do_no_harm,
    moving_the_limit_moves_the_result,
    what_fits_nothing_is_said,
)
