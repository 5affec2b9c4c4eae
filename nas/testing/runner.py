"""The laws of a runner: what is measured with it is the network, and what it cannot run it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from hardware_profiles import Target
from nas.deploy.artefact import Artefact
from nas.devices.runners.base import Runner, load_cascade
from nas.errors import InputError
from nas.testing import deployed
from nas.testing.laws import BrokenLaw, laws, require

Make = Callable[[Target], Runner]


@contextmanager
def _built(make: Make, name: str, batch: int = 1) -> Iterator[tuple[Runner, Artefact]]:
    """A runner, and one of the networks as its builder leaves it."""
    target = deployed.here(batch)
    runner, network = make(target), deployed.networks()[name]
    builder = type(runner).builder(target, deployed.profile())
    if builder.requirement:
        raise BrokenLaw(f"nothing can be built for it here: {builder.requirement}; check it where that is installed")
    with TemporaryDirectory() as folder:
        yield runner, builder.build(network, deployed.weights_of(network), Path(folder) / "built")


def it_has_what_a_run_uses(make: Make) -> None:
    """It has a builder, a target, a version that names it, and loads"""
    target = deployed.here()
    runner = make(target)
    for member in ("builder", "target", "version", "load"):
        require(hasattr(runner, member), f"it has no `{member}`", "see nas.devices.runners.base.Runner")
    require(runner.target == target, f"its target is {runner.target!r}", "keep the target that it is made with")
    known = isinstance(runner.version, str) and bool(runner.version.strip())
    require(known, f"its version is {runner.version!r}", "give the runtime's name and version as a text")


def a_file_per_segment_is_built(make: Make) -> None:
    """Its builder leaves a file per segment, in the order of the exits"""
    for name, network in deployed.networks().items():
        with _built(make, name) as (_, artefact):
            there = [path.is_file() for path in artefact.paths]
            require(
                there == [True] * len(network.exits),
                f"of a network with {len(network.exits)} exits it built {[path.name for path in artefact.paths]}",
                "write the file of every segment and name it there",
            )


def answers_are_those_of_the_network(make: Make) -> None:
    """At every exit it answers as the network does, for calls of one sample and of several"""
    for name in deployed.networks():
        for batch in deployed.BATCHES:
            with _built(make, name, batch) as (runner, artefact):
                cascade = load_cascade(runner, artefact)
                rows = slice(0, batch)
                seen = cascade.run_all(deployed.samples()[rows])
                deployed.require_same(seen, name, rows, f"a call of {batch}")


def answers_are_the_callers_own(make: Make) -> None:
    """What a call returns is not overwritten by the next one"""
    with _built(make, "one exit") as (runner, artefact):
        program = runner.load(artefact.paths[0])
        first = program(deployed.samples()[:1])[0]
        before = np.array(first)
        program(deployed.samples()[1:2])
        require(np.array_equal(first, before), "an answer changed with the next call", "return a copy")


def what_is_loaded_twice_is_two(make: Make) -> None:
    """Two networks that are loaded at a time do not get into each other's way"""
    with _built(make, "one exit") as (one, first), _built(make, "two exits") as (two, second):
        cascades = load_cascade(one, first), load_cascade(two, second)
        for rows in (slice(0, 1), slice(1, 2)):
            for name, cascade in zip(deployed.networks(), cascades, strict=True):
                deployed.require_same(cascade.run_all(deployed.samples()[rows]), name, rows, "one of two that are open")


def what_cannot_be_run_is_said(make: Make) -> None:
    """A file that it cannot run raises InputError"""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "exit_0.nonsense"
        path.write_bytes(b"no network at all")
        try:
            make(deployed.here()).load(path)
        except InputError:
            return
    raise BrokenLaw("a file of nonsense is loaded without a word; raise nas.errors.InputError, with the path")


def another_version_is_refused(make: Make) -> None:
    """A version of the runtime that is not the one here is refused with InputError"""
    wanted = replace(deployed.here(), runtime_version="0.0.none")
    try:
        make(wanted)
    except InputError:
        return
    raise BrokenLaw(
        f"the target asks for version {wanted.runtime_version!r} and gets another; compare `target.runtime_version`, "
        "where it is not None, with the runtime's, and raise nas.errors.InputError"
    )


def subject(make: Make) -> tuple[Make, str]:
    """What laws take: what makes a runner, tried once."""
    return make, make(deployed.here()).version


LAWS: Final = laws(
    it_has_what_a_run_uses,
    a_file_per_segment_is_built,
    answers_are_those_of_the_network,
    answers_are_the_callers_own,
    what_is_loaded_twice_is_two,
    what_cannot_be_run_is_said,
    another_version_is_refused,
)
