"""This machine as a device: what is timed runs in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from hardware_profiles.host import is_here
from nas.config.plugins import NO_PLUGINS, Plugins
from nas.deploy.artefact import Artefact
from nas.deploy.cascade import Cascade
from nas.devices.base import Array, Device, Session, Times, Wanted
from nas.devices.conditions import Conditions
from nas.devices.runners import runner_for
from nas.devices.runners.base import Runner, load_cascade
from nas.devices.system import Shown, shown
from nas.devices.timing.cascades import time_cascades
from nas.devices.timing.plan import Plan
from nas.process.machine import measuring

#: Artefacts that stay loaded, in case they are measured again.
_KEPT_READY: Final = 16


def local_device(target: Target, profile: DeviceProfile, plugins: Plugins = NO_PLUGINS) -> Device | None:
    """This machine, where the target's device is it: `host`, or a profile that `nas profile` measured on it."""
    return InProcess(target, plugins) if is_here(profile) else None


@dataclass(frozen=True)
class InProcess:
    """Satisfies `base.Device`: the runtime that the target names, in this process."""

    target: Target
    plugins: Plugins = NO_PLUGINS

    @contextmanager
    def open(self, artefacts: Mapping[str, Artefact]) -> Iterator[Session]:
        """Open artefacts; raises InputError where the runtime is missing."""
        yield InProcessSession(runner_for(self.target, self.plugins), artefacts)


@dataclass(frozen=True)
class InProcessSession:
    """Satisfies `base.Session`; artefacts are loaded when they are first needed, and only so many stay."""

    runner: Runner
    artefacts: Mapping[str, Artefact]
    _ready: dict[str, Cascade] = field(default_factory=dict, repr=False)
    #: What the machine showed before the last readings.
    _before: list[Shown] = field(default_factory=list, repr=False)

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""
        return self.runner.version

    def run(self, name: str, sample: Array) -> tuple[Array, int]:
        """The logits that answer one sample, and their exit."""
        return self._cascade(name)(sample)

    def run_all(self, name: str, batch: Array) -> Sequence[Array]:
        """The logits of all exits."""
        return self._cascade(name).run_all(batch)

    def leaving(self, name: str, samples: Sequence[Array]) -> NDArray[np.int64]:
        """The exits at which samples leave [n]."""
        return np.array([self.run(name, sample)[1] for sample in samples], np.int64)

    def time(
        self, wanted: Sequence[Wanted], samples: Sequence[NDArray[np.float32]], plan: Plan, reference: str | None = None
    ) -> dict[str, Times]:
        """Time artefacts in interleaved blocks."""
        cascades = {each.name: self._cascade(each.name) for each in wanted}
        singles = {each.name: each.single for each in wanted if each.single is not None}
        plan = replace(plan, batch=self.runner.target.batch, singles=singles)
        watched = None if reference is None else self._cascade(reference)
        streams = {each.name for each in wanted if each.stream}
        self._before[:] = [shown()]
        with measuring():
            read = time_cascades(cascades, streams, samples, plan, watched)
        return {each.name: Times.of(read[each.name]) for each in wanted}

    def conditions(self) -> Conditions:
        """What this machine is like now, and was before the last readings."""
        return Conditions.now(self.runtime, self.runner.target.threads, next(iter(self._before), None))

    def _cascade(self, name: str) -> Cascade:
        if name not in self._ready:
            loaded = load_cascade(self.runner, self.artefacts[name])
            while len(self._ready) >= _KEPT_READY:
                del self._ready[next(iter(self._ready))]
            self._ready[name] = loaded
        return self._ready[name]
