"""A machine on clocks that the test turns."""

from __future__ import annotations

from collections.abc import Callable

from nas.devices.timing.measuring import Clocks
from nas.devices.timing.plan import Plan
from nas.devices.timing.probe import Probe

PLAN = Plan(blocks=3, block_s=1.0, warm_up_s=0.1, reading_s=0.01, min_readings=5, max_readings=1000)


class Machine:
    """A machine whose time passes only when something is called, or a clock is read.

    While `shared(wall_s)` somebody else is busy on the core's other thread, and everything takes 1.8 times as long, by
    either clock. The probe has a clock of its own: its time is nobody's.
    """

    def __init__(self, tick_s: float = 1e-9, shared: Callable[[float], bool] = lambda wall_s: False) -> None:
        self.wall_s = self.cpu_s = self.probe_s = 0.0
        self.shared = shared
        self.tick_s = tick_s
        self.log: list[str] = []

    def call(self, name: str, seconds: float, stolen: Callable[[int], float] = lambda n: 0.0) -> Callable[[], None]:
        """Something that takes so much CPU time; the n-th call waits `stolen(n)` seconds longer for the core."""
        count = 0

        def run() -> None:
            nonlocal count
            self.log.append(name)
            took = seconds * self._slowness()
            self.cpu_s += took
            self.wall_s += took + stolen(count)
            count += 1

        return run

    def _slowness(self) -> float:
        return 1.8 if self.shared(self.wall_s) else 1.0

    def _probe(self) -> None:
        self.probe_s += 25e-6 * self._slowness()

    @property
    def clocks(self) -> Clocks:
        def cpu() -> float:
            self.cpu_s += 1e-9
            return round(self.cpu_s / self.tick_s) * self.tick_s

        return Clocks(lambda: self.wall_s, cpu, Probe(lambda: self.probe_s, self._probe))


class Busy(Machine):
    """A core that is not ours alone: after 3 ms on it we wait for 9 ms."""

    left_s = 0.003

    def work(self, seconds: float) -> Callable[[], None]:
        """Something that takes so much CPU time."""

        def run() -> None:
            self.cpu_s += seconds
            self.wall_s += seconds
            self.left_s -= seconds
            while self.left_s <= 0:
                self.wall_s += 0.009
                self.left_s += 0.003

        return run
