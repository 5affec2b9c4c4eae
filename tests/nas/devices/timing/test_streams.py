"""Single calls over a stream: each takes a sample that is drawn, and as long as that sample takes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from nas.devices.measurement import ExitTime
from nas.devices.timing.bounds import percentile_upper_95_s
from nas.devices.timing.measuring import Clocks
from nas.devices.timing.plan import LEAST_CALLS, Plan, SinglePlan, single_plan
from nas.devices.timing.probe import Probe
from nas.devices.timing.single_calls import SingleJob, SingleReadings, single_calls

EARLY_S, LATE_S = 1e-3, 4e-3


@dataclass
class Camera:
    """A machine on which sample i takes the seconds of its exit; `seen` has the samples in the order of the calls."""

    takes: np.ndarray
    busy_until: int = 0
    now: float = 0.0
    seen: list[int] = field(default_factory=list)

    @staticmethod
    def with_late(share: float, samples: int = 1000) -> Camera:
        """So large a share of the samples passes the last exit."""
        return Camera(np.where(np.arange(samples) < round(share * samples), LATE_S, EARLY_S))

    def call(self, sample: int) -> None:
        self.now += self.takes[sample]
        self.seen.append(sample)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _probe(self) -> None:
        self.now += 25e-6 * (2 if len(self.seen) < self.busy_until else 1)

    def read(self, single: SinglePlan) -> SingleReadings:
        """Calls as a session takes them."""

        def wall() -> float:
            return self.now

        probe = Probe(wall, self._probe)
        clocks = Clocks(wall, wall, probe, waited=lambda alone: None, stolen=lambda: None, sleep=self.sleep)
        job = SingleJob(self.call, list(range(len(self.takes))), single)
        return single_calls({"a": job}, Plan(warm_up_s=0.0), clocks)["a"]


def plan(q: float, every_s: float | None = None, seed: int = 0) -> SinglePlan:
    """What a verification takes."""
    found = single_plan(q, every_s)
    return SinglePlan(found.blocks, found.calls, found.least, found.block_s, every_s, found.repeats, seed)


@pytest.mark.parametrize("every_s", [None, 33e-3])
@pytest.mark.parametrize(
    ("late", "p95_s", "p99_s"),
    [(0.0, EARLY_S, EARLY_S), (0.001, EARLY_S, EARLY_S), (0.03, EARLY_S, LATE_S), (0.12, LATE_S, LATE_S)],
)
def test_a_percentile_is_that_of_the_mixture(late: float, p95_s: float, p99_s: float, every_s: float | None) -> None:
    for q, expected_s in ((0.95, p95_s), (0.99, p99_s)):
        read = Camera.with_late(late).read(plan(q, every_s))
        time = ExitTime.of_single(read)
        assert read.drawn and not read.refused and time.percentile(q)[0] == pytest.approx(expected_s)
        assert time.median_s == pytest.approx(EARLY_S + late * (LATE_S - EARLY_S), rel=0.25)
        assert time.calls == read.seconds.size and time.every_s == every_s
        blocks, n = read.seconds.shape
        assert blocks >= 3 and n >= LEAST_CALLS[q]


@pytest.mark.parametrize("q", [0.95, 0.99])
def test_the_bound_covers_which_images_come(q: float) -> None:
    """Just more samples are late than may be: the bound says so in nearly all of many verifications."""
    late = 1.1 * (1 - q)
    bounds = [percentile_upper_95_s(Camera.with_late(late).read(plan(q, 33e-3, seed)), q) for seed in range(40)]
    assert np.mean(np.isclose(bounds, LATE_S)) >= 0.95


def test_every_block_has_a_fresh_sample_of_what_might_come() -> None:
    camera = Camera.with_late(0.1)
    read = camera.read(SinglePlan(3, 500, block_s=9.0, seed=1))
    each = (len(camera.seen) - 3) // 3  # but for those that warm up
    blocks = [tuple(camera.seen[3 + number * each :][:each][-500:]) for number in range(3)]
    assert np.allclose([camera.takes[list(block)] for block in blocks], read.seconds)
    assert len(set(blocks)) == 3 and all(len(set(block)) < 500 for block in blocks), "with replacement"
    again, other, in_turn = Camera.with_late(0.1), Camera.with_late(0.1), Camera.with_late(0.1)
    for each, seed in ((again, 1), (other, 2), (in_turn, None)):
        each.read(SinglePlan(3, 500, block_s=9.0, seed=seed))
    assert again.seen == camera.seen != other.seen
    assert in_turn.seen[-500:] == list(range(500)), "without a seed as ever: in turn, the same in each block"


def test_a_block_that_is_taken_again_is_of_other_images() -> None:
    camera = Camera.with_late(0.1)
    camera.busy_until = 300
    read = camera.read(SinglePlan(3, 200, repeats=3, seed=1))
    assert read.repeated >= 1 and not read.refused and read.seconds.shape == (3, 200)
    assert len({tuple(block) for block in read.seconds.round(6).tolist()}) == 3
