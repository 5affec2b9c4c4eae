"""The laws of an evaluator: what it says of a network is a function of the run, in whatever process."""

from __future__ import annotations

import atexit
import functools
import shutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.config import parse
from nas.config.plugins import NO_PLUGINS
from nas.exits.scores import Scores
from nas.process.events import Voice
from nas.run.context import Context
from nas.search.evaluators.base import Evaluator, KnowsEveryNetwork, Ranking, ScoresEveryExit
from nas.testing.laws import laws, require
from search_spaces.slots import random_genomes, with_exits

Make = Callable[[Context], Evaluator | Ranking]
#: Digits, a space with two exits, a device that is not measured, one epoch.
_EXPERIMENT: Final[Mapping[str, Any]] = {
    "name": "judged",
    "data": "digits",
    "space": {"name": "toy", "width": 4, "max_exits": 1},
    "target": {"device": "rpi4b", "runner": "onnxruntime"},
    "budgets": [{"latency": "1 s"}],
    "calibration": {"networks": 0},
    "supernet": {"epochs": 1, "random_subnets": 1},
}
#: For one that knows every network: these have one exit each, and nothing is trained.
_KNOWN: Final[Mapping[str, Any]] = {
    **_EXPERIMENT,
    "space": {"name": "nasbench201", "channels": 4, "cells": 1},
    "search": {"evaluator": "train"},
    "winners": {"training": "scratch"},
}
_IMAGES: Final = 50
_MADE: Final[list[Path]] = []


@lru_cache(maxsize=2)
def _run(known: bool) -> Path:
    """A run that has shared weights, or none for what knows every network; it stays until the process ends."""
    from nas.run.folder import RunFolder
    from nas.run.opening import materials, open_context
    from nas.stages import supernet

    experiment = parse.experiment(_KNOWN if known else _EXPERIMENT)
    path = Path(mkdtemp(prefix="judged-")) / "run"
    _MADE.append(path.parent)
    atexit.register(forget)
    with RunFolder.open(path, resume=False) as folder:
        context = open_context(experiment, materials(experiment), folder, Voice())
        if not known:
            supernet.train_supernet(context)
    return path


def forget() -> None:
    """Remove the runs that laws are tried on; also where a process ends without looking back."""
    _run.cache_clear()
    while _MADE:
        shutil.rmtree(_MADE.pop(), ignore_errors=True)


def _context(make: Make) -> Context:
    from nas.run.opening import reopen

    made: Any = make
    while isinstance(made, functools.partial):
        made = made.func
    return reopen(_run(hasattr(made, "accuracy")), NO_PLUGINS)


def _genomes(context: Context) -> list[NDArray[np.int64]]:
    """The same network with one exit, and with two where it can have them."""
    (drawn,) = random_genomes(context.space, 1, np.random.default_rng(3))
    deep = np.maximum(drawn, [len(gene.options) - 1 if gene.ordinal else 0 for gene in context.space.genes])
    return [with_exits(context.space, deep, on) for on in ((), (0,))]


def _present(context: Context, genome: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where the genome's exits are."""
    exits = [slot for slot in context.space.slots if slot.role != "body"]
    return np.array([slot.network(slot.values(genome)) is not None for slot in exits])


def _scores(evaluator: Evaluator | Ranking, context: Context, genome: NDArray[np.int64]) -> Scores:
    """What it says of a network; of one that ranks by a score, that score, as of one image and exit."""
    if isinstance(evaluator, Evaluator):
        return evaluator.scores(genome, _IMAGES, _present(context, genome))
    return Scores(np.array(evaluator.score(genome[None]), np.float64)[:, None], np.ones((1, 1), np.bool_))


def it_has_what_a_run_uses(make: Make) -> None:
    """It says whether it needs shared weights, and scores"""
    # A run asks the class, before there is anything to make it with.
    known = isinstance(getattr(type(make(_context(make))), "needs_weights", None), bool)
    require(
        known, "its class does not say `needs_weights`", "say True or False: whether shared weights are trained first"
    )


def every_exit_of_a_network_is_scored(make: Make) -> None:
    """It gives finite scores and whether they are right, for each image at each exit of the network"""
    context = _context(make)
    evaluator = make(context)
    if not isinstance(evaluator, Evaluator):
        return
    for genome in _genomes(context):
        found, exits = _scores(evaluator, context, genome), len(context.space.decode(genome).exits)
        shapes = {np.shape(found.confidence), np.shape(found.correct)}
        require(shapes == {(_IMAGES, exits)}, f"{exits} exits have {shapes}", "return [images, exits] of both")
        require(bool(np.isfinite(found.confidence).all()), "a score is not finite", "score every image")
        require(
            found.correct.dtype == np.bool_,
            f"correct is {found.correct.dtype}",
            "say of each image whether it is right",
        )


def networks_are_ranked_by_finite_numbers(make: Make) -> None:
    """Where it ranks by a score, it gives each of several networks one that is finite, the same as if asked alone"""
    context = _context(make)
    evaluator = make(context)
    if isinstance(evaluator, Evaluator):
        return
    genomes = np.stack(_genomes(context))
    found = np.asarray(evaluator.score(genomes))
    require(found.shape == (len(genomes),), f"{len(genomes)} networks have scores {found.shape}", "return one for each")
    require(bool(np.isfinite(found).all()), f"scores are {found.tolist()}", "give every network a finite number")
    alone = [float(evaluator.score(genome[None])[0]) for genome in genomes]
    require(alone == found.tolist(), f"alone they are {alone}, together {found.tolist()}", "score each by itself")


def equal_questions_have_equal_answers(make: Make) -> None:
    """Asked again, and after other networks, it says the same"""
    context = _context(make)
    evaluator = make(context)
    first, second = _genomes(context)
    before = _scores(evaluator, context, first)
    _scores(evaluator, context, second)
    require(
        _same(before, _scores(evaluator, context, first)), "asked again it says something else", "draw from the seed"
    )


def another_one_says_the_same(make: Make) -> None:
    """One that is made anew from the run's folder, as in another process, says the same"""
    context, again = _context(make), _context(make)
    genome = _genomes(context)[-1]
    there = _scores(make(again), again, genome)
    same = _same(_scores(make(context), context, genome), there)
    require(same, "made anew it says something else", "let everything follow from the run's files and its seed")


def exits_that_are_off_are_scored_as_if_they_were_on(make: Make) -> None:
    """Where it scores exits that a network does not have, it is as if it had them"""
    context = _context(make)
    evaluator = make(context)
    if not isinstance(evaluator, ScoresEveryExit):
        return
    bare, with_exit = _genomes(context)
    every = evaluator.every_exit(bare, _IMAGES)
    present = _present(context, with_exit)
    found = Scores(every.confidence[:, present], every.correct[:, present])
    require(
        _same(found, _scores(evaluator, context, with_exit)), "an exit scores otherwise when it is on", "score alike"
    )


def what_is_known_is_what_is_scored(make: Make) -> None:
    """Where it knows the accuracy of every network, as many images are right, to the nearest one"""
    context = _context(make)
    evaluator = make(context)
    if not isinstance(evaluator, KnowsEveryNetwork):
        return
    genomes = evaluator.genomes
    known = evaluator.accuracy(genomes)
    require(
        known.shape == (len(genomes),) and bool(((known >= 0) & (known <= 1)).all()),
        f"accuracies {known.shape} of {len(genomes)} networks lie between {known.min()} and {known.max()}",
        "return a fraction for each",
    )
    require(
        np.array_equal(context.space.canonical(genomes), genomes), "a genome is not canonical", "give canonical ones"
    )
    for genome in genomes[:: max(1, len(genomes) // 5)]:
        right = float(_scores(evaluator, context, genome).correct[:, -1].mean())
        gap = abs(right - float(evaluator.accuracy(genome[None])[0]))
        require(gap <= 0.5 / _IMAGES + 1e-9, f"{right:.3f} of the images are right, {gap:.3f} off", "round to images")


def _same(one: Scores, other: Scores) -> bool:
    return np.array_equal(one.confidence, other.confidence) and np.array_equal(one.correct, other.correct)


def subject(make: Make) -> tuple[Make, str]:
    """What laws take: what makes an evaluator of a run, tried once."""
    make(_context(make))
    return make, ""


LAWS: Final = laws(
    it_has_what_a_run_uses,
    every_exit_of_a_network_is_scored,
    networks_are_ranked_by_finite_numbers,
    equal_questions_have_equal_answers,
    another_one_says_the_same,
    exits_that_are_off_are_scored_as_if_they_were_on,
    what_is_known_is_what_is_scored,
)
