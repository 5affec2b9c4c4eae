"""A device whose readings follow from the network alone, so that whoever measures again finds the same seconds.

`crash.py` puts this file on the path of the programs that it starts as their `sitecustomize`, which Python imports in
each of them, cells of a sweep included: `nas` then finds this device wherever one is named. What is run instead of
timed runs here. Some winners take longer than the candidates that they were, so that budgets are broken after the
training, and other networks chosen. As nothing is measured, nobody on this machine is waited for.
"""

from __future__ import annotations

import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nas.devices.base import Session, Times, Wanted
from nas.devices.measurement import ExitTime
from nas.devices.replay import Recording, Replay, ReplaySession

if TYPE_CHECKING:
    from hardware_profiles import DeviceProfile, Target
    from nas.config.plugins import Plugins
    from nas.deploy.artefact import Artefact

#: The variable that says at which of its operations on a disk a process kills itself.
DIES_AT: Final = "CRASH_DIES_AT"
#: Seconds of the network whose genes are all 0, and what each further option of a gene adds, as a share of it.
_LEAST_S: Final = 1e-4
_PER_OPTION: Final = 0.12
#: Readings of different networks lie so far beside what their genes say, and bounds above readings.
_SCATTER, _BOUND = 0.03, 1.01
#: So much longer a winner takes than it took as a candidate, for one network in so many.
_LONGER, _ONE_IN = 1.3, 2
#: A stream of samples takes that share of what its last exit takes.
_STREAM: Final = 0.8


def seconds_of(genome: tuple[int, ...], purpose: str | None) -> float:
    """The seconds to the last exit of a network, measured for a purpose."""
    drawn = zlib.crc32(repr(genome).encode())
    last_s = _LEAST_S * (1 + _PER_OPTION * sum(genome)) * (1 + _SCATTER * (drawn % 1000) / 1000)
    return last_s * (_LONGER if purpose == "winner" and drawn // 1000 % _ONE_IN else 1.0)


def times_of(wanted: Wanted) -> Times:
    """All that is read of an artefact."""
    last_s = seconds_of(wanted.genome, wanted.purpose)
    exits = (last_s * (number + 1) / wanted.exits for number in range(wanted.exits))
    stream = ExitTime(_STREAM * last_s, _STREAM * last_s * _BOUND) if wanted.stream else None
    return Times(tuple(ExitTime(exit_s, exit_s * _BOUND) for exit_s in exits), stream)


@dataclass(frozen=True)
class MadeUpSession(ReplaySession):
    """A session that looks nothing up."""

    @property
    def runtime(self) -> str:
        """What the readings are from."""
        return "made up"

    def _times(self, wanted: Wanted) -> Times:
        return times_of(wanted)


class MadeUp(Replay):
    """Satisfies `nas.devices.base.Device`."""

    @contextmanager
    def open(self, artefacts: Mapping[str, Artefact]) -> Iterator[Session]:
        """Open artefacts; nothing is built or loaded as long as it is only timed."""
        yield MadeUpSession(self, artefacts)


def device(target: Target, profile: DeviceProfile, plugins: Plugins) -> MadeUp:
    """Satisfies `nas.devices.base.DeviceFinder`."""
    return MadeUp(Recording(Path("made-up.jsonl")), target, plugins)


def install() -> None:
    """Let `nas` find this device in the place of this machine, and take locks of its own."""
    from nas.devices import finding
    from nas.process import machine

    vars(finding)["local_device"] = device
    machine.FOLDER = Path(os.environ["XDG_CACHE_HOME"])


def die_at(number: int) -> None:
    """Let this process kill itself instead of its operation of that number on a disk, whichever that is."""
    left = number

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return operation

    for name in ("write", "ftruncate", "replace", "rename", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "sitecustomize" and "nas" in sys.orig_argv:
    install()
    if number := int(os.environ.get(DIES_AT, "0")):
        die_at(number)
