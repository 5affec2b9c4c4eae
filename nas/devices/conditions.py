"""Under what conditions a latency was read: what the system tells about clocks, load and temperature, and versions.

Whatever cannot be read is None: containers and virtual machines often hide clocks and governors.
https://docs.kernel.org/admin-guide/pm/cpufreq.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nas.process import facts, versions

_SYSTEM: Final = Path("/sys")


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the machine was like when a reading was taken.

    `governor` names the frequency governors of the cores that may be used; `clock_hz` is their lowest and highest clock
    at that moment; `load` the run queue's mean over the last minute; `temperature_c` the hottest thermal zone, in
    degrees Celsius; `runtime` name and version of what ran the network; `versions` those of the packages.
    """

    runtime: str
    threads: int
    governor: str | None = None
    clock_hz: tuple[float, float] | None = None
    temperature_c: float | None = None
    load: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def now(runtime: str, threads: int, system: Path = _SYSTEM) -> Conditions:
        """Read what can be read."""
        policies = [system / f"devices/system/cpu/cpu{core}/cpufreq" for core in facts.cores_used()]
        kilohertz = [float(text) for policy in policies if (text := _text(policy / "scaling_cur_freq")).isdigit()]
        zones = [_text(zone / "temp") for zone in (system / "class/thermal").glob("thermal_zone*")]
        millidegrees = [float(text) for text in zones if text.lstrip("-").isdigit()]
        return Conditions(
            runtime=runtime,
            threads=threads,
            governor=facts.governor(system),
            clock_hz=(1e3 * min(kilohertz), 1e3 * max(kilohertz)) if kilohertz else None,
            temperature_c=max(millidegrees) / 1e3 if millidegrees else None,
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            versions=dict(versions.installed(versions.OF_READINGS)),
        )

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Conditions:
        """Read back what JSON made of it."""
        clock = record.get("clock_hz")
        return Conditions(**{**record, "clock_hz": None if clock is None else (clock[0], clock[1])})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
