"""Single calls: all of a block count, and a block is refused only by what was seen beside its calls."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from nas.devices.timing.bounds import percentile_upper_95_s, quantile_bound
from nas.devices.timing.kernel import stolen_s, waited_s
from nas.devices.timing.measuring import Clocks
from nas.devices.timing.plan import Plan, SinglePlan, single_plan
from nas.devices.timing.probe import Probe
from nas.devices.timing.single_calls import SingleJob, SingleReadings, single_calls

PLAN = Plan(warm_up_s=0.0)


@dataclass
class World:
    """A machine whose time passes when something is called or slept; what happens beside the calls is scripted.

    `takes` are the seconds of calls in turn; beside the n-th call the probe takes `level(n)` times as long, the kernel
    says that `waits(n)` seconds were waited and `steals(n)` stolen, and the reference takes `moves(n)` times as long.
    """

    takes: tuple[float, ...] = (1e-3,)
    level: Callable[[int], float] = lambda n: 1.0
    waits: Callable[[int], float] = lambda n: 0.0
    steals: Callable[[int], float] = lambda n: 0.0
    moves: Callable[[int], float] = lambda n: 1.0
    says: bool = True
    now: float = 0.0
    calls: int = 0
    waited: float = 0.0
    stolen: float = 0.0
    starts: list[float] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._each = itertools.cycle(self.takes)

    def call(self, sample: object) -> None:
        self.starts.append(self.now)
        self.now += next(self._each)
        self.waited += self.waits(self.calls)
        self.stolen += self.steals(self.calls)
        self.calls += 1

    def reference(self) -> None:
        self.now += 1e-3 * self.moves(self.calls)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def _probe(self) -> None:
        self.now += 25e-6 * self.level(self.calls)

    @property
    def clocks(self) -> Clocks:
        def wall() -> float:
            return self.now

        probe = Probe(wall, self._probe)
        return Clocks(
            wall,
            wall,
            probe,
            waited=lambda alone: self.waited if self.says else None,
            stolen=lambda: self.stolen if self.says else None,
            sleep=self.sleep,
        )

    def take(self, plan: SinglePlan, threads: int = 1) -> SingleReadings:
        job, plan_ = SingleJob(self.call, [0], plan), Plan(warm_up_s=0.0, threads=threads)
        return single_calls({"a": job}, plan_, self.clocks, self.reference)["a"]


def test_every_call_counts_and_none_is_averaged() -> None:
    read = World((1e-3,) * 9 + (1e-1,)).take(SinglePlan(3, 100, block_s=100))
    assert read.seconds.shape == (3, 100) and (read.seconds > 0.05).sum() == 30 and not read.refused


@pytest.mark.parametrize(
    ("plan", "n"),
    [
        (SinglePlan(3, 1000, 7, 5.0), 7),
        (SinglePlan(3, 1000, 7, 300.0), 300),
        (SinglePlan(3, 1000, 7, math.inf), 1000),
        (SinglePlan(3, 100, 300, 5.0), 300),
        (SinglePlan(3, 1000, 60, 300.0, every_s=3.0), 100),
    ],
)
def test_slow_calls_are_fewer_but_as_many_as_a_bound_needs(plan: SinglePlan, n: int) -> None:
    assert World((1.0,)).take(plan).seconds.shape == (3, n)


def test_samples_take_turns_and_things_take_turns() -> None:
    world, seen = World(), []

    def job(name: str) -> SingleJob:
        def call(sample: object) -> None:
            seen.append(f"{name}{sample}")
            world.call(sample)

        return SingleJob(call, [1, 2, 3], SinglePlan(4, 9))

    single_calls({"a": job("a"), "b": job("b")}, PLAN, world.clocks)
    blocks = "".join(seen[-4 * 2 * 29 :])
    assert all(blocks.count(f"{name}1{name}2{name}3") == 36 for name in "ab")
    order = [name for name, _ in itertools.groupby(blocks[::2])]
    assert 4 <= len(order) <= 8, "never twice in a row before the other had its turn"


def test_at_a_duty_cycle_it_sleeps_until_the_next_call_is_due() -> None:
    world = World((1e-3, 4e-3))
    world.take(SinglePlan(3, 50, every_s=0.02))
    starts, gaps = world.starts[3:], np.diff(world.starts[3:])  # the first three warm up
    within = gaps[[i for i in range(len(gaps)) if (i + 1) % 53]]  # three settle each block of fifty
    assert np.allclose(within, 0.02) and len(starts) == 3 * 53
    assert min(world.slept) > 0.015, "it idles for most of the time"


def test_a_call_that_was_late_is_not_caught_up_with() -> None:
    world = World((1e-3,) * 5 + (0.1,))
    read = world.take(SinglePlan(3, 60, every_s=0.02))
    gaps = np.diff(world.starts[3:])
    assert gaps.min() > 0.019 and not read.refused
    assert (read.seconds > 0.05).sum() == 30, "late calls are calls"


DISTURBED = {
    "the core was shared": {"level": lambda n: 2.0 if n % 5 == 0 and n > 20 else 1.0},
    "this process waited for a core": {"waits": lambda n: 4e-3 if n % 40 == 0 else 0.0},
    "the host of this machine gave cores to others": {"steals": lambda n: 1e-2 if n % 40 == 0 else 0.0},
    "the clock moved": {"moves": lambda n: 1.0 + 0.2 * (n // 400 % 2)},
}


@pytest.mark.parametrize("every_s", [None, 0.02])
@pytest.mark.parametrize("reason", DISTURBED)
def test_what_shows_beside_the_calls_refuses_them_in_words(reason: str, every_s: float | None) -> None:
    # In a block of a duty cycle the host would have to give more away to count as much.
    much = {"steals": lambda n: 0.1 if n % 40 == 0 else 0.0} if "host" in reason and every_s else DISTURBED[reason]
    world = World(**much)
    read = world.take(SinglePlan(3, 400, block_s=100, every_s=every_s))
    assert reason in read.refused and "blocks of single calls" in read.refused
    assert np.allclose(read.seconds, 1e-3), "what is refused is not corrected"
    assert percentile_upper_95_s(read, 0.95) == math.inf


@pytest.mark.parametrize("reason", [reason for reason in DISTURBED if "clock" not in reason])
def test_a_disturbed_block_is_taken_again(reason: str) -> None:
    ((name, value),) = DISTURBED[reason].items()
    quiet = getattr(World(), name)
    read = World(**{name: lambda n: value(n) if n < 300 else quiet(n)}).take(SinglePlan(3, 200, repeats=3))
    assert not read.refused and read.repeated >= 1 and read.seconds.shape == (3, 200)


def test_slow_calls_alone_are_no_reason_to_take_a_block_again() -> None:
    read = World((1e-3,) * 20 + (1.0,)).take(SinglePlan(3, 400, block_s=1e3, repeats=3))
    assert read.repeated == 0 and not read.refused and percentile_upper_95_s(read, 0.99) > 0.9


def test_with_several_threads_the_probe_says_nothing() -> None:
    shared = DISTURBED["the core was shared"]
    assert not World(**shared).take(SinglePlan(3, 400), threads=2).refused
    assert World(**DISTURBED["this process waited for a core"]).take(SinglePlan(3, 400), threads=2).refused


def test_where_the_kernel_says_nothing_the_rest_decides() -> None:
    silent = World(**DISTURBED["this process waited for a core"], says=False).take(SinglePlan(3, 400))
    assert not silent.refused and math.isnan(silent.waited)


def test_the_kernels_count_is_read_where_there_is_one(tmp_path) -> None:
    for task, text in (("1", "9 2000000000 3"), ("2", "9 500000000 3")):
        (tmp_path / "self/task" / task).mkdir(parents=True)
        (tmp_path / "self/task" / task / "schedstat").write_text(text)
    (tmp_path / "thread-self").mkdir()
    (tmp_path / "thread-self/schedstat").write_text("9 500000000 3")
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 250 0 0\ncpu0 1 2 3\n")
    assert waited_s(False, str(tmp_path)) == pytest.approx(2.5)
    assert waited_s(True, str(tmp_path)) == pytest.approx(0.5)
    assert stolen_s(str(tmp_path)) == pytest.approx(2.5)
    nowhere = str(tmp_path / "nowhere")
    assert waited_s(True, nowhere) is None and waited_s(False, nowhere) is None and stolen_s(nowhere) is None


@pytest.mark.parametrize(
    ("n", "q", "rank"),
    [(58, 0.95, None), (59, 0.95, 59), (298, 0.99, None), (299, 0.99, 299), (1000, 0.95, 962), (1000, 0.99, 996)],
)
def test_bounds_of_percentiles_are_order_statistics(n: int, q: float, rank: int | None) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert quantile_bound(values, q) == (math.inf if rank is None else rank)


def test_the_largest_bound_of_a_block_counts_and_fewer_than_three_bound_nothing() -> None:
    blocks = np.stack([np.arange(1000.0), np.arange(1000.0) + 5, np.arange(1000.0) + 2])
    assert percentile_upper_95_s(SingleReadings(blocks), 0.99) == 1000.0
    assert percentile_upper_95_s(SingleReadings(blocks[:2]), 0.99) == math.inf
    assert percentile_upper_95_s(SingleReadings(blocks, refused="busy"), 0.99) == math.inf


@pytest.mark.parametrize(("q", "n"), [(0.95, 60), (0.95, 100), (0.99, 300), (0.99, 1000)])
def test_bounds_of_one_block_cover_at_95_percent(q: float, n: int) -> None:
    rng = np.random.default_rng(7)
    truth = math.exp(1.6448536269514722 if q == 0.95 else 2.3263478740408408)
    covered = np.mean([quantile_bound(rng.lognormal(size=n), q) >= truth for _ in range(1000)])
    assert covered >= 0.93


@pytest.mark.parametrize(("q", "n"), [(0.95, 60), (0.99, 300)])
@pytest.mark.parametrize("every_s", [None, 33e-3])
def test_a_verification_takes_as_many_calls_as_a_bound_needs(q: float, n: int, every_s: float | None) -> None:
    plan = single_plan(q, every_s)
    assert plan.blocks >= 3 and plan.size(10.0) == n and plan.size(1e-4) >= n and plan.every_s == every_s
    assert single_plan(None, None).size(1e-4) * 3 >= 1000
