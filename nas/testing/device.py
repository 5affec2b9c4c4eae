"""The laws of a device: what is opened there answers as the network, and is timed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from nas.deploy.artefact import Artefact
from nas.devices.base import Device, Session, Wanted
from nas.devices.runners import builder_for
from nas.devices.timing.cascades import filled
from nas.devices.timing.plan import Plan
from nas.testing import deployed
from nas.testing.laws import BrokenLaw, laws, require

#: Short: what is tried is that there are readings, not how good they are.
PLAN: Final = Plan(blocks=3, block_s=2e-3, warm_up_s=1e-3)
#: A time to an exit may be that much above the time to a later one, by chance.
_ABOVE: Final = 1.5


class _Watched(Mapping[str, Artefact]):
    """Artefacts that note which of them were looked up."""

    def __init__(self, artefacts: Mapping[str, Artefact]) -> None:
        self.artefacts, self.asked = artefacts, set[str]()

    def __getitem__(self, name: str) -> Artefact:
        self.asked.add(name)
        return self.artefacts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.artefacts)

    def __len__(self) -> int:
        return len(self.artefacts)


@contextmanager
def _open(device: Device, leaving: float | None = None) -> Iterator[tuple[Session, _Watched]]:
    """A session with all networks; the early exit of the second answers from confidence `leaving` on."""
    builder = builder_for(device.target, deployed.profile(device.target.device))
    with TemporaryDirectory() as folder:
        built = {
            name: builder.build(network, deployed.weights_of(network), Path(folder) / name)
            for name, network in deployed.networks().items()
        }
        built["two exits"] = replace(built["two exits"], thresholds=(leaving,))
        watched = _Watched(built)
        with device.open(watched) as session:
            yield session, watched


def _wanted(stream: bool) -> list[Wanted]:
    return [
        Wanted(name, (number,), len(network.exits), None, stream)
        for number, (name, network) in enumerate(deployed.networks().items())
    ]


def answers_are_those_of_the_network(device: Device) -> None:
    """At every exit it answers as the network does"""
    rows = slice(0, device.target.batch)
    with _open(device) as (session, _):
        for name in deployed.networks():
            deployed.require_same(session.run_all(name, deployed.samples()[rows]), name, rows, "run_all")


def samples_leave_by_their_thresholds(device: Device) -> None:
    """A sample leaves at the first exit that is confident enough, else at the last"""
    for leaving, exit_ in ((0.0, 0), (math.inf, 1), (None, 1)):
        with _open(device, leaving) as (session, _):
            logits, left = session.run("two exits", filled(deployed.samples()[:1], device.target.batch))
            require(left == exit_, f"with the threshold {leaving} a sample leaves at exit {left}", f"leave at {exit_}")
            wanted = deployed.answers("two exits")[0, exit_]
            require(abs(logits[0] - wanted).max() < 1e-2, "its logits are those of another exit", "give the exit's")


def artefacts_are_looked_up_when_needed(device: Device) -> None:
    """Opening looks nothing up, and timing only what is wanted"""
    with _open(device) as (session, watched):
        require(not watched.asked, f"opening looked up {sorted(watched.asked)}", "load what is first used")
        session.time(_wanted(stream=False)[:1], [deployed.samples()[:1]], PLAN)
        require(watched.asked <= {"one exit"}, f"{sorted(watched.asked)} were looked up", "load only what is wanted")


def seconds_are_told_for_every_exit(device: Device) -> None:
    """Every artefact that is wanted gets positive seconds to each of its exits, which grow"""
    with _open(device) as (session, _):
        times = session.time(_wanted(stream=False), [deployed.samples()[:1]], PLAN)
    for wanted in _wanted(stream=False):
        require(wanted.name in times, f"{wanted.name!r} was wanted and not timed", "time all that is wanted")
        seconds = [exit_.median_s for exit_ in times[wanted.name].to_exits]
        grow = all(before < _ABOVE * after for before, after in pairwise(seconds))
        require(
            len(seconds) == wanted.exits and min(seconds) > 0 and grow,
            f"the seconds to {wanted.exits} exits of {wanted.name!r} are {seconds}",
            "give one positive time per exit, each from the beginning",
        )
        require(times[wanted.name].stream is None, "a stream was timed that nobody wanted", "time what is wanted")


def a_stream_is_timed_or_refused(device: Device) -> None:
    """The mean over samples is told, or why it cannot be"""
    if device.target.batch != 1:
        return  # samples of one call cannot leave at different exits
    samples = [sample[None] for sample in deployed.samples()]
    with _open(device, 0.0) as (session, _):
        times = session.time(_wanted(stream=True), samples, PLAN)
    for name, found in times.items():
        if found.stream is None:
            raise BrokenLaw(f"the stream of {name!r} has neither seconds nor a reason; give one of them")
        bound = found.stream.upper_95_s
        require(found.stream.median_s > 0, f"its mean is {found.stream.median_s}", "give positive seconds")
        require(not found.stream.refused or bound == math.inf, f"refused, its bound is {bound}", "bound nothing then")


def it_says_what_runs_there(device: Device) -> None:
    """Session and conditions name the runtime"""
    with _open(device) as (session, _):
        conditions = session.conditions()
        require(bool(session.runtime), "its runtime is empty", "give name and version")
        require(conditions.runtime == session.runtime, f"conditions name {conditions.runtime!r}", "name the same")
        require(conditions.threads == device.target.threads, f"{conditions.threads} threads", "give the target's")


LAWS: Final = laws(
    answers_are_those_of_the_network,
    samples_leave_by_their_thresholds,
    artefacts_are_looked_up_when_needed,
    seconds_are_told_for_every_exit,
    a_stream_is_timed_or_refused,
    it_says_what_runs_there,
)
