"""What does the system show of this machine's clocks, heat, power mode and load?

Only files are read, and whatever is not there is not known: containers and virtual machines hide most of it.
https://docs.kernel.org/admin-guide/pm/cpufreq.html, https://docs.kernel.org/driver-api/thermal/sysfs-api.html,
https://www.raspberrypi.com/documentation/computers/os.html#get_throttled

Like what takes readings, it is sent to boards: Python 3.8.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas.process import facts

ROOT: Final = Path("/")
#: What the firmware of a Raspberry Pi says by bit, of this moment.
_FIRMWARE: Final = (
    (0, "the supply's voltage is too low"),
    (1, "the firmware caps the clock"),
    (2, "the firmware throttles the processor"),
    (3, "the firmware's soft temperature limit is reached"),
)
#: From this bit on it says what has happened since it was switched on: a bit that is set stays.
_HAPPENED: Final = 16
#: Cooling devices that slow the processor down; fans cool too.
_SLOWS: Final = re.compile(r"cpufreq|^processor$|[cg]pu-(?:balanced|emergency|throttle)", re.IGNORECASE)


@dataclass(frozen=True)
class Shown:
    """What could be read at a moment; None is not known.

    `clock_hz` is the lowest and highest clock of the cores that may be used, `temperature_c` the hottest thermal zone,
    `throttled` why the processor is slowed down just now (empty: not, as far as is shown), `throttle_events` a counter
    of such moments, `power_mode` what a Jetson's nvpmodel is set to, `load` the run queue's mean of the last minute,
    `emulated` which program stands in for the processor.
    """

    governor: str | None = None
    clock_hz: tuple[float, float] | None = None
    temperature_c: float | None = None
    throttled: str = ""
    throttle_events: int | None = None
    power_mode: str | None = None
    load: float | None = None
    emulated: str = ""


def shown(root: Path = ROOT) -> Shown:
    """Read what can be read."""
    cpus = [root / "sys/devices/system/cpu" / f"cpu{core}" for core in facts.cores_used()]
    kilohertz = [float(text) for cpu in cpus if (text := _text(cpu / "cpufreq/scaling_cur_freq")).isdigit()]
    zones = [_text(zone / "temp") for zone in (root / "sys/class/thermal").glob("thermal_zone*")]
    millidegrees = [float(text) for text in zones if text.lstrip("-").isdigit()]
    return Shown(
        governor=facts.governor(root / "sys"),
        clock_hz=(1e3 * min(kilohertz), 1e3 * max(kilohertz)) if kilohertz else None,
        temperature_c=max(millidegrees) / 1e3 if millidegrees else None,
        throttled=throttled(root),
        throttle_events=_events(root),
        power_mode=_power_mode(root),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        emulated=emulated(root),
    )


def emulated(root: Path = ROOT) -> str:
    """Which program stands in for the processor, such as qemu-aarch64-static; empty where none shows.

    Emulators of a user-land answer for the process's own link to its program, and not for the thread's.
    """
    process, thread = (_link(root / "proc" / each / "exe") for each in ("self", "thread-self"))
    return "" if process == thread or not thread else Path(thread).name


def throttled(root: Path = ROOT) -> str:
    """Why the processor is slowed down just now, empty where nothing is shown: a few small files are read."""
    bits = _firmware(root) or 0
    for bit, words in _FIRMWARE:
        if bits >> bit & 1:
            return words
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind, state = _text(device / "type"), _text(device / "cur_state")
        if state.isdigit() and int(state) > 0 and _SLOWS.search(kind):
            return f"cooling by {kind} is at step {state}"
    return ""


@dataclass(frozen=True)
class Throttle:
    """Whether the processor is slowed down: why just now (empty: it is not), and how often it was so far."""

    reason: str = ""
    events: int | None = None

    def since(self, before: Throttle) -> str:
        """Why it was slowed down at some time since `before`, empty where nothing shows that it was."""
        if before.reason or self.reason:
            return before.reason or self.reason
        return "its own counter says that it was" if before.events != self.events else ""


def throttle(root: Path = ROOT) -> Throttle:
    """What is shown of it now."""
    return Throttle(throttled(root), _events(root))


def _events(root: Path) -> int | None:
    """A number that is another one where the processor was slowed down in between; None where nobody counts."""
    firmware = _firmware(root)
    if firmware is not None:
        return firmware >> _HAPPENED
    cpus = [root / "sys/devices/system/cpu" / f"cpu{core}" for core in facts.cores_used()]
    counts = [int(text) for cpu in cpus if (text := _text(cpu / "thermal_throttle/core_throttle_count")).isdigit()]
    return sum(counts) if counts else None


def _firmware(root: Path) -> int | None:
    """What the firmware of a Raspberry Pi says, None elsewhere."""
    text = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    return int(text, 16) if re.fullmatch(r"(0x)?[0-9a-f]+", text) else None


def _power_mode(root: Path) -> str | None:
    """The power mode that nvpmodel was set to, by name where its table has one."""
    status = re.search(r"pmode:0*(\d+)", _text(root / "var/lib/nvpmodel/status"))
    if status is None:
        return None
    names = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", _text(root / "etc/nvpmodel.conf"))
    return dict(names).get(status[1], status[1])


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip().strip("\0")
    except (OSError, UnicodeDecodeError):
        return ""
