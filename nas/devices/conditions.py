"""Under what conditions a latency was read: what the system shows, and the versions of what ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardware_profiles.host import identity
from nas.devices.system import ROOT, Shown, shown
from nas.process import versions as installed_versions


@dataclass(frozen=True)
class Place:
    """A machine by its name, the versions of packages there, and the board's name where it is behind a pipe."""

    machine: str
    versions: Mapping[str, str]
    reached: str = ""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the machine was like when a reading was taken; None is not known.

    `governor` names the frequency governors of the cores that may be used; `clock_hz` is their lowest and highest clock
    just before and after; `load` the run queue's mean over the last minute; `temperature_c` the hottest thermal zone,
    in degrees Celsius; `throttled` why the processor was slowed down then, empty where nothing showed; `power_mode`
    that of a Jetson; `runtime` name and version of what ran the network; `versions` those of the packages; `machine`
    where all that was, and `reached` the board's name where it was behind a pipe.
    """

    runtime: str
    threads: int
    governor: str | None = None
    clock_hz: tuple[float, float] | None = None
    temperature_c: float | None = None
    load: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    throttled: str = ""
    power_mode: str | None = None
    machine: str = ""
    reached: str = ""

    @staticmethod
    def now(runtime: str, threads: int, before: Shown | None = None, root: Path = ROOT) -> Conditions:
        """Read what this machine shows, besides what it showed `before`."""
        now = shown(root)
        found = installed_versions.installed(installed_versions.OF_READINGS)
        return Conditions.of(runtime, threads, now if before is None else before, now, Place(identity()["name"], found))

    @staticmethod
    def of(runtime: str, threads: int, before: Shown, after: Shown, where: Place) -> Conditions:
        """What a machine showed before and after."""
        clocks = [clock for each in (before, after) if each.clock_hz for clock in each.clock_hz]
        events = (before.throttle_events, after.throttle_events)
        slowed = before.throttled or after.throttled
        if not slowed and None not in events and events[0] != events[1]:
            slowed = "the processor was throttled meanwhile"
        return Conditions(
            runtime=runtime,
            threads=threads,
            governor=after.governor,
            clock_hz=(min(clocks), max(clocks)) if clocks else None,
            temperature_c=after.temperature_c,
            load=after.load,
            versions=dict(where.versions),
            throttled=slowed,
            power_mode=after.power_mode,
            machine=where.machine,
            reached=where.reached,
        )

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Conditions:
        """Read back what JSON made of it."""
        clock = record.get("clock_hz")
        return Conditions(**{**record, "clock_hz": None if clock is None else (clock[0], clock[1])})
