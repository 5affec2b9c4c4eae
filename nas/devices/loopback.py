"""This machine through a server of TVM's, as if it were another one: what runs there is sent, and timed there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from nas.deploy.artefact import Artefact
from nas.deploy.cascade import Cascade
from nas.devices.base import Array, Session, Times, Wanted
from nas.devices.conditions import Conditions
from nas.devices.measurement import ExitTime
from nas.devices.runners import runner_for
from nas.devices.runners.tvm_rpc import Server, local_server
from nas.devices.timing.cascades import filled
from nas.devices.timing.plan import Plan
from nas.devices.timing.readings import Readings
from nas.process.machine import measuring

#: Why there is no mean over samples: the loop that decides at each exit runs here, not there.
NO_STREAM = "TVM's RPC times libraries one by one, and not a loop over them"


@dataclass(frozen=True)
class Loopback:
    """Satisfies `base.Device`: TVM libraries in a server process on the loopback interface."""

    target: Target

    @contextmanager
    def open(self, artefacts: Mapping[str, Artefact]) -> Iterator[Session]:
        """Start a server for as long as artefacts are open; raises InputError without TVM, RpcError without answer."""
        runtime = runner_for(self.target).version
        with local_server(self.target.threads) as server:
            yield LoopbackSession(self.target, f"{runtime} over RPC", Server.of(server), artefacts)


@dataclass(frozen=True)
class LoopbackSession:
    """Satisfies `base.Session`; each call sends its library, and raises RpcError where that does not end well."""

    target: Target
    runtime: str
    server: Server
    artefacts: Mapping[str, Artefact]

    def run(self, name: str, sample: Array) -> tuple[Array, int]:
        """The logits that answer one sample, and their exit, decided here."""
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
        """Time the libraries of artefacts one after the other: the time to an exit is the sum of those up to it.

        What a device spends between libraries is not in it, and there is neither a reference nor a probe.
        """
        with measuring():
            return {each.name: self._times(each, filled(samples[0], self.target.batch), plan) for each in wanted}

    def conditions(self) -> Conditions:
        """What this machine is like now."""
        return Conditions.now(self.runtime, self.target.threads)

    def _cascade(self, name: str) -> Cascade:
        artefact = self.artefacts[name]
        return Cascade(
            [partial(self.server.run, path) for path in artefact.paths],
            [segment.takes for segment in artefact.segments],
            [segment.outputs for segment in artefact.segments],
            artefact.leaving,
            artefact.policy,
        )

    def _times(self, wanted: Wanted, batch: NDArray[np.float32], plan: Plan) -> Times:
        artefact = self.artefacts[wanted.name]
        tensors: dict[str, Array] = {}
        found: list[Readings] = []
        for path, segment in zip(artefact.paths, artefact.segments, strict=True):
            inputs = [tensors.get(name, batch) for name in segment.takes]
            tensors.update(zip(segment.outputs, self.server.run(path, *inputs), strict=True))
            found.append(self.server.time(path, *inputs, plan=plan))
        to_exits = tuple(ExitTime.of(_sum(found[: k + 1], plan)) for k in range(len(found)))
        seconds = to_exits[-1].median_s
        return Times(to_exits, ExitTime(seconds, np.inf, refused=NO_STREAM) if wanted.stream else None)


def _sum(parts: Sequence[Readings], plan: Plan) -> Readings:
    """Readings of one thing after the other: they are independent, so the n-th ones are added."""
    n = min(part.wall_s.shape[1] for part in parts)
    wall_s = np.sum([part.wall_s[:, :n] for part in parts], axis=0)
    return Readings(wall_s, np.full_like(wall_s, np.nan), threads=plan.threads, cpu_per_reading=False)
