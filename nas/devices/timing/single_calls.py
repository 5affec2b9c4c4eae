"""Single calls, in blocks of which every call counts: how long does whoever calls once have to wait?

What is asked for is a percentile, so the slow calls are what it is about, and none is left out, repeated or corrected
by its own time. A whole block is taken again where something beside its calls says that the machine was not ours: a
probe between the calls, the time for which the kernel made this process wait, what the host gave to others, or a
reference program before and after it. What stays so is refused. Calls may come one after the other, or at a duty
cycle: then the core idles in between as it would beside a camera, and caches and clocks are what that leaves of them.
Of a network with early exits they may be a stream: each call takes a sample that is drawn for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.devices.timing.measuring import Clocks, no_garbage_collection, warm_up
from nas.devices.timing.probe import shared
from nas.devices.timing.rounds import drift, middle_s
from nas.tolerances import (
    REFERENCE_DRIFT,
    SINGLE_PROBE,
    SINGLE_QUIET_SHARE,
    SINGLE_STOLEN_SHARE,
    SINGLE_WAITED_SHARE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nas.devices.timing.plan import Plan, SinglePlan
    from nas.devices.timing.readings import Seconds

#: Calls before those of a block at its duty cycle, and how long they last where there is none: what ran before
#: it, or a rest, has left its traces in caches and clocks.
_SETTLING, _SETTLING_S = 3, 0.02
#: Waiting is compared with the time of the calls, and with so much where they are over sooner: less than half a
#: millisecond hits one of hundreds of calls, and moves no percentile.
_LEAST_S = 0.1
#: Calls of the reference before and after a round.
_REFERENCE_CALLS = 11


@dataclass(frozen=True)
class SingleJob:
    """What is called with one of the `inputs` at a time, and how often: in turn, or as they are drawn."""

    call: Callable[[Any], object]
    inputs: Sequence[Any]
    plan: SinglePlan


@dataclass(frozen=True)
class SingleReadings:
    """Seconds of single calls [blocks, n] by the wall clock, one due every `every_s` seconds (None: one after another).

    `disturbed` is the share of calls beside which the probe found the core shared, `waited` the largest share of a
    block's time for which the process waited for a core (NaN where nobody says). `repeated` counts the blocks that were
    thrown away; `refused` says in words why nothing can be said of the others, and is empty where something can.
    `drawn`: the calls are over a stream of samples that were drawn.
    """

    seconds: Seconds
    every_s: float | None = None
    disturbed: float = 0.0
    waited: float = math.nan
    repeated: int = 0
    refused: str = ""
    drawn: bool = False

    def __post_init__(self) -> None:
        if self.seconds.ndim != 2 or not self.seconds.size:
            raise ValueError(f"single calls need an array [blocks, n], got {self.seconds.shape}")


@dataclass(frozen=True)
class _Block:
    """One block [n], and what was seen beside its calls; shares of its time, NaN where nobody says.

    `slowed` says why the processor was slowed down meanwhile.
    """

    seconds: Seconds
    disturbed: float
    waited: float
    stolen: float
    around_s: tuple[float, ...] = ()
    slowed: str = ""


def single_calls(
    jobs: Mapping[str, SingleJob],
    plan: Plan,
    clocks: Clocks | None = None,
    reference: Callable[[], object] | None = None,
) -> dict[str, SingleReadings]:
    """Take the blocks of each job by name, in rounds and an order that changes, and those that went wrong again.

    `plan` says how long to rest between rounds and to warm up; the number of blocks and calls is each job's own.
    `reference` is timed around each round. Raises ValueError for a job without inputs.
    """
    if any(not job.inputs for job in jobs.values()):
        raise ValueError("single calls need at least one sample")
    if not jobs:
        return {}
    clocks = clocks or Clocks()
    # Where nothing is decided by them, nobody waits for another time.
    rest_s = plan.gap_s if any(job.plan.repeats for job in jobs.values()) else 0.0
    with no_garbage_collection():
        rounds = _Rounds(jobs, plan, clocks, reference)
        blocks: dict[str, list[_Block]] = {name: [] for name in jobs}
        for number in range(max((job.plan.blocks for job in jobs.values()), default=0)):
            if number and rest_s:
                clocks.sleep(rest_s)
            for name, block in rounds.take([name for name, job in jobs.items() if number < job.plan.blocks]):
                blocks[name].append(block)
        repeated = dict.fromkeys(jobs, 0)
        for number in range(max((job.plan.repeats for job in jobs.values()), default=0)):
            usual_s = _usual_s(blocks)
            again = [
                (name, i)
                for name, job in jobs.items()
                if number < job.plan.repeats
                for i, block in enumerate(blocks[name])
                if rounds.wrong(block, usual_s) > 1
            ]
            if not again:
                break
            if rest_s:
                clocks.sleep(rest_s)
            taken = rounds.take([name for name, _ in again])
            for (name, i), (_, block) in zip(again, taken):  # noqa: B905 (new in 3.10)
                repeated[name] += 1
                if rounds.wrong(block, usual_s) < rounds.wrong(blocks[name][i], usual_s):
                    blocks[name][i] = block
    usual_s = _usual_s(blocks)
    return {
        name: SingleReadings(
            seconds=np.stack([block.seconds for block in blocks[name]]),
            every_s=job.plan.every_s,
            disturbed=float(np.mean([block.disturbed for block in blocks[name]])),
            waited=max(block.waited for block in blocks[name]),
            repeated=repeated[name],
            refused=rounds.refused(blocks[name], usual_s),
            drawn=job.plan.seed is not None,
        )
        for name, job in jobs.items()
    }


def _usual_s(blocks: Mapping[str, Sequence[_Block]]) -> float:
    return middle_s(level_s for of_one in blocks.values() for block in of_one for level_s in block.around_s)


class _Rounds:
    """Takes blocks, and judges them by what was seen beside their calls."""

    def __init__(
        self,
        jobs: Mapping[str, SingleJob],
        plan: Plan,
        clocks: Clocks,
        reference: Callable[[], object] | None,
    ) -> None:
        self._jobs, self._plan, self._clocks, self._reference = jobs, plan, clocks, reference
        self._rng = np.random.default_rng(plan.seed)
        self._draws = {
            name: np.random.default_rng(job.plan.seed) for name, job in jobs.items() if job.plan.seed is not None
        }
        per_call_s = {name: self._warm(job) for name, job in jobs.items()}
        self._sizes = {name: job.plan.size(per_call_s[name]) for name, job in jobs.items()}
        self._settling = {
            name: _SETTLING if job.plan.every_s else max(_SETTLING, round(_SETTLING_S / max(per_call_s[name], 1e-6)))
            for name, job in jobs.items()
        }

    def take(self, names: Sequence[str]) -> list[tuple[str, _Block]]:
        """A block of each of these, in the order in which they are named."""
        before_s, throttle = self._level_s(), self._clocks.throttle()
        found = {int(place): self._block(names[place]) for place in self._rng.permutation(len(names))}
        around_s = tuple(level_s for level_s in (before_s, self._level_s()) if not math.isnan(level_s))
        slowed = self._clocks.throttle().since(throttle)
        return [(name, replace(found[place], around_s=around_s, slowed=slowed)) for place, name in enumerate(names)]

    def wrong(self, block: _Block, usual_s: float) -> float:
        """How far a block is from being acceptable, which it is up to 1."""
        return max(self._signs(block, usual_s).values())

    def refused(self, blocks: Sequence[_Block], usual_s: float) -> str:
        """Why blocks cannot be counted, by what the worst of them shows most; empty where they can."""
        bad = [signs for block in blocks if max((signs := self._signs(block, usual_s)).values()) > 1]
        if not bad:
            return ""
        worst = max(bad, key=lambda signs: max(signs.values()))
        return f"in {len(bad)} of {len(blocks)} blocks of single calls {max(worst, key=lambda sign: worst[sign])}"

    def _signs(self, block: _Block, usual_s: float) -> dict[str, float]:
        """What speaks against a block, in words, each as a multiple of what is allowed."""
        # With several threads the probe would see the runtime's own, which spin for a while after a call.
        alone = self._plan.threads == 1
        return {
            "the core was shared": block.disturbed / SINGLE_QUIET_SHARE if alone else 0.0,
            "this process waited for a core": _known(block.waited) / SINGLE_WAITED_SHARE,
            "the host of this machine gave cores to others": _known(block.stolen) / SINGLE_STOLEN_SHARE,
            "the clock moved": drift(block.around_s, usual_s) / REFERENCE_DRIFT,
            f"the processor was slowed down ({block.slowed})": math.inf if block.slowed else 0.0,
        }

    def _warm(self, job: SingleJob) -> float:
        position = 0

        def step() -> None:
            nonlocal position
            job.call(job.inputs[position % len(job.inputs)])
            position += 1

        return warm_up(step, self._plan.warm_up_s, self._clocks.wall)

    def _block(self, name: str) -> _Block:
        clocks, job = self._clocks, self._jobs[name]
        wall, call, inputs, every_s = clocks.wall, job.call, job.inputs, job.plan.every_s
        probe, alone = clocks.probe or shared(True, every_s), self._plan.threads == 1
        n = self._sizes[name]
        took_s, level_s, waits_s = np.empty(n), np.empty(n), np.zeros(n)
        coming = self._coming(name, n)
        begin = due = wall()
        stolen, before, last = clocks.stolen(), clocks.waited(alone), 0.0
        for number, place in enumerate(coming, -self._settling[name]):
            sample = inputs[place]
            if every_s is not None or number == 0:
                # Asked around each call where there is a rest between: waking up from it is not the call's waiting.
                before = clocks.waited(alone)
            w = wall()
            call(sample)
            seconds = wall() - w
            level = probe()
            if every_s is not None or number == n - 1:
                last = _between(before, clocks.waited(alone))
            if number >= 0:
                took_s[number], level_s[number] = seconds, level
                waits_s[number] = last
            if every_s is not None:
                # A call that was late is not caught up with: there would be no rest before the next one.
                due = max(due + every_s, wall())
                clocks.sleep(max(due - wall(), 0.0))
        passed_s = wall() - begin
        return _Block(
            took_s,
            float(np.mean(level_s > SINGLE_PROBE * probe.floor_s)),
            float(waits_s.sum() / max(took_s.sum(), _LEAST_S)),
            _between(stolen, clocks.stolen()) / passed_s,
        )

    def _coming(self, name: str, n: int) -> list[int]:
        """The places of the samples of a block of n calls, those that settle it before them: in turn, or drawn."""
        settling, inputs, draws = self._settling[name], len(self._jobs[name].inputs), self._draws.get(name)
        if draws is None:
            return [number % inputs for number in range(-settling, n)]
        places: list[int] = draws.integers(inputs, size=settling + n).tolist()
        return places

    def _level_s(self) -> float:
        """Seconds of the reference now, CPU time on one thread; NaN without a reference."""
        if self._reference is None:
            return math.nan
        clock = self._clocks.cpu if self._plan.threads == 1 else self._clocks.wall
        levels = []
        for _ in range(_REFERENCE_CALLS):
            start = clock()
            self._reference()
            levels.append(clock() - start)
        level_s = float(np.median(levels))
        return level_s if level_s > 0 else math.nan


def _between(before: float | None, after: float | None) -> float:
    """What was added, NaN where nobody says."""
    return math.nan if before is None or after is None else after - before


def _known(share: float) -> float:
    return 0.0 if math.isnan(share) else share
