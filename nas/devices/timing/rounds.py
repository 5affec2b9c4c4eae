"""Rounds of blocks: one of each thing per round, a reference between the rounds, and again whatever went wrong.

A block went wrong where somebody else was using the core (wall over CPU time), or where the reference, the same
program all the while, took another time before or after it than it usually does: then the machine was not the same.
So did one most of whose readings a probe found disturbed. Such a block is taken again, with the reference around it;
what stays wrong is left out where enough others are left, else marked; it is never averaged away. One that ran while
the processor was slowed down by heat or voltage is taken again too, and refused where it stays so. Where blocks stay
contended, the CPU time of the very same readings counts; where they have none, the readings are refused.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nas.devices.system import throttle
from nas.devices.timing.readings import COARSE, Readings
from nas.tolerances import (
    CONTENDED_MEAN,
    CONTENDED_WALL_TO_CPU,
    KEPT_BLOCKS,
    QUIET_PROBE,
    QUIET_SHARE,
    REFERENCE_DRIFT,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nas.devices.system import Throttle
    from nas.devices.timing.plan import Plan
    from nas.devices.timing.probe import Probe
    from nas.devices.timing.readings import Seconds, Statistic


@dataclass(frozen=True)
class Block:
    """Readings of one stretch [n] and the probe's levels beside them [n].

    `contention` is wall over CPU time as a multiple of what is allowed, `around_s` the reference before and after it,
    `slowed` why the processor was slowed down meanwhile.
    `cpu_s` is NaN where the clock was too coarse for single readings.
    """

    wall_s: Seconds
    cpu_s: Seconds
    level_s: Seconds
    contention: float
    around_s: tuple[float, ...] = ()
    slowed: str = ""

    @staticmethod
    def of(wall_s: Seconds, cpu_s: Seconds, statistic: Statistic, level_s: Seconds) -> Block:
        """A block of readings that have a CPU time each.

        One interruption among hundreds does not move a median; in a mean all waiting adds up, so less is allowed.
        """
        median = statistic == "median"
        centre, allowed = (np.median, CONTENDED_WALL_TO_CPU) if median else (np.mean, CONTENDED_MEAN)
        used = float(centre(cpu_s))
        return Block(wall_s, cpu_s, level_s, float(centre(wall_s)) / used / allowed if used > 0 else math.inf)

    @staticmethod
    def of_stretch(wall_s: Seconds, level_s: Seconds, stretch: tuple[float, float], step_s: float) -> Block:
        """A block taken in a stretch of so much wall and CPU time, by a clock of steps of `step_s` seconds.

        Not all readings of the stretch are among the block's: it tells whether somebody else had the core meanwhile,
        and not how long these readings waited.
        """
        used = stretch[1] + (step_s if math.isfinite(step_s) else 0.0)
        contention = stretch[0] / used / CONTENDED_WALL_TO_CPU if used > 0 else math.inf
        return Block(wall_s, np.full_like(wall_s, np.nan), level_s, contention)


@dataclass(frozen=True)
class Job:
    """One thing to be measured: how to take a block of it, and what kind of readings these are."""

    block: Callable[[], Block]
    statistic: Statistic
    calls: int
    cpu_per_reading: bool


def run(
    jobs: Mapping[str, Job],
    plan: Plan,
    probe: Probe,
    reference: Job | None = None,
    throttled: Callable[[], Throttle] = throttle,
) -> dict[str, Readings]:
    """Take the blocks of the plan, and those that went wrong again, each in up to `plan.repeats` further rounds."""
    rounds = _Rounds(jobs, plan, probe, reference, throttled)
    blocks: dict[str, list[Block]] = {name: [] for name in jobs}
    for number in range(plan.blocks):
        if number and plan.gap_s:
            rounds.rest()
        for name, block in zip(jobs, rounds.take(tuple(jobs))):  # noqa: B905 (new in 3.10)
            blocks[name].append(block)
    repeated = dict.fromkeys(jobs, 0)
    for _ in range(plan.repeats):
        usual_s = _usual_s(blocks.values())
        again = [(name, i) for name in jobs for i, b in enumerate(blocks[name]) if rounds.wrong(b, usual_s) > 1]
        if not again:
            break
        blocks_again = rounds.take([name for name, _ in again])
        for (name, i), block in zip(again, blocks_again):  # noqa: B905 (new in 3.10)
            if rounds.wrong(block, usual_s) < rounds.wrong(blocks[name][i], usual_s):
                blocks[name][i] = block
            repeated[name] += 1
    usual_s = _usual_s(blocks.values())
    kept = {name: rounds.best(blocks[name], usual_s) for name in jobs}
    return {
        name: Readings(
            wall_s=np.stack([block.wall_s for block in kept[name]]),
            cpu_s=np.stack([block.cpu_s for block in kept[name]]),
            statistic=job.statistic,
            calls=job.calls,
            threads=plan.threads,
            contended=any(rounds.contention(block) > 1 for block in kept[name]),
            refused=rounds.refused(job, kept[name]),
            repeated=repeated[name],
            cpu_per_reading=job.cpu_per_reading,
            reference_s=usual_s,
            drift=max(drift(block.around_s, usual_s) for block in kept[name]),
            disturbed=rounds.disturbed(kept[name]),
            probe_s=probe.floor_s,
        )
        for name, job in jobs.items()
    }


def drift(levels_s: Iterable[float], usual_s: float) -> float:
    """The largest relative distance of the reference from what it usually takes; 0 where there is no reference."""
    return max((max(level_s / usual_s, usual_s / level_s) - 1 for level_s in levels_s), default=0.0)


def middle_s(levels_s: Iterable[float]) -> float:
    """What the reference took in the middle of all blocks that are kept; NaN without a reference."""
    levels = list(levels_s)
    return float(np.median(levels)) if levels else math.nan


def _usual_s(blocks: Iterable[Sequence[Block]]) -> float:
    return middle_s(level_s for of_one in blocks for block in of_one for level_s in block.around_s)


class _Rounds:
    """Takes blocks in an order that changes from round to round."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        plan: Plan,
        probe: Probe,
        reference: Job | None,
        throttled: Callable[[], Throttle],
    ) -> None:
        self._jobs, self._plan, self._probe, self._reference = jobs, plan, probe, reference
        self._throttled = throttled
        self._rng = np.random.default_rng(plan.seed)
        self._level_s: float | None = None

    def take(self, names: Sequence[str]) -> list[Block]:
        """A block of each, and the reference before and after; one reference serves two rounds without rest between."""
        before_s, before = self._level() if self._level_s is None else self._level_s, self._throttled()
        found = {int(place): self._jobs[names[place]].block() for place in self._rng.permutation(len(names))}
        self._level_s = self._level()
        around_s = tuple(level_s for level_s in (before_s, self._level_s) if not math.isnan(level_s))
        slowed = self._throttled().since(before)
        return [replace(found[place], around_s=around_s, slowed=slowed) for place in range(len(names))]

    def rest(self) -> None:
        """Wait for the gap of the plan; the machine may be another one afterwards."""
        self._level_s = None
        time.sleep(self._plan.gap_s)

    def contention(self, block: Block) -> float:
        """Wall over CPU time as a multiple of what is allowed; 0 where it tells nothing."""
        # With several threads CPU time adds up over them, and says nothing about who waited for a core.
        return block.contention if self._plan.threads == 1 else 0.0

    def refused(self, job: Job, blocks: Sequence[Block]) -> str:
        """Why blocks cannot be counted, empty where they can."""
        slowed = [block.slowed for block in blocks if block.slowed]
        if slowed:
            return f"the processor was slowed down in {len(slowed)} of {len(blocks)} blocks ({slowed[0]})"
        busy = sum(self.contention(block) > 1 for block in blocks)
        if not busy or job.cpu_per_reading:
            return ""
        return f"the core was busy in {busy} of {len(blocks)} blocks, and {COARSE}"

    def wrong(self, block: Block, usual_s: float) -> float:
        """How far a block is from being acceptable, which it is up to 1."""
        moved = (1 + drift(block.around_s, usual_s)) / (1 + REFERENCE_DRIFT)
        return math.inf if block.slowed else max(self.contention(block), moved, self.disturbance(block))

    def best(self, blocks: Sequence[Block], usual_s: float) -> list[Block]:
        """The blocks without those that stayed wrong, as long as enough others are left; in order."""
        ranked = sorted(range(len(blocks)), key=lambda i: self.wrong(blocks[i], usual_s))
        good = [i for i in ranked if self.wrong(blocks[i], usual_s) <= 1]
        return [blocks[i] for i in sorted(good if len(good) >= KEPT_BLOCKS else ranked[:KEPT_BLOCKS])]

    def disturbance(self, block: Block) -> float:
        """The probe's level that enough of the readings kept below, as a multiple of what is allowed."""
        if self._plan.threads > 1:
            return 0.0
        return float(np.quantile(block.level_s, QUIET_SHARE)) / (QUIET_PROBE * self._probe.floor_s)

    def disturbed(self, blocks: Sequence[Block]) -> float:
        """The share of readings beside which the core was not at full speed."""
        if self._plan.threads > 1:
            return 0.0
        return float(np.mean([level_s > QUIET_PROBE * self._probe.floor_s for b in blocks for level_s in b.level_s]))

    def _level(self) -> float:
        """Seconds of the reference now: CPU time on one thread, since who else has the core is asked of each block.

        NaN where there is no reference, and where the probe found the core shared: then it says nothing of the clock.
        """
        if self._reference is None:
            return math.nan
        block = self._reference.block()
        if self.disturbance(block) > 1:
            return math.nan
        level_s = float(np.median(block.cpu_s if self._plan.threads == 1 else block.wall_s))
        return level_s if level_s > 0 else float(np.median(block.wall_s))
