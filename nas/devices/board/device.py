"""A board as a device: what is timed is sent there, and timed there by the same program as here."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from hardware_profiles.host import differences
from nas.deploy.artefact import Artefact
from nas.deploy.policy import policy_file, policy_record
from nas.deploy.schedules import VERSION
from nas.devices.base import Array, DeviceLost, Session, Times, Wanted
from nas.devices.board.connection import Connection, sha256_of
from nas.devices.conditions import Conditions, Place
from nas.devices.system import Shown
from nas.devices.timing.plan import Plan
from nas.errors import InputError
from nas.process.files import sha256_file

#: The runners that boards have: others are files of this machine alone.
RUNNERS: Final = ("onnxruntime", "tvm")
#: Networks that stay loaded there, in case they are measured again.
_LOADED: Final = 16
_sessions = itertools.count()


@dataclass(frozen=True)
class Board:
    """Satisfies `base.Device`; raises DeviceLost where the board does not answer."""

    target: Target
    connection: Connection

    @contextmanager
    def open(self, artefacts: Mapping[str, Artefact]) -> Iterator[Session]:
        """Open artefacts; raises InputError for a runtime of another version, or one that boards do not have."""
        if self.target.runner not in RUNNERS:
            raise InputError(
                f"target.runner: {self.target.runner} is not sent to boards, and {self.target.device} is one; give "
                f"{' or '.join(RUNNERS)}"
            )
        session = BoardSession(self, artefacts)
        _ = session.runtime
        try:
            yield session
        finally:
            session.close()


class BoardSession:
    """Satisfies `base.Session`; what a board forgot since it was started anew is opened there again."""

    def __init__(self, device: Board, artefacts: Mapping[str, Artefact]) -> None:
        self.device, self.artefacts = device, artefacts
        self._connection, self._target = device.connection, device.target
        self._number = next(_sessions)
        self._generation = -1
        self._opened: dict[str, None] = {}
        self._facts: dict[str, Any] = {}
        self._last: dict[str, Any] | None = None

    @property
    def runtime(self) -> str:
        """Name and version of what runs there, and of the rules that TVM's libraries are made by here."""
        if not self._facts:
            there = {"runner": self._target.runner, "provider": self._target.provider}
            self._facts = self._answered(lambda: self._ask("facts", measure=False, **there))
            if reason := self._facts["objection"]:
                raise DeviceLost(self._connection.name, f"cannot run what is asked: {reason}")
            wanted, here = self._target.runtime_version, str(self._facts["runtime"])
            if wanted is not None and wanted != here.split()[-1]:
                raise InputError(
                    f"the target asks for {self._target.runner} {wanted}, {self._connection.name} has {here}: install "
                    "that version there, or leave runtime_version out of the target"
                )
        made = f", kernels {VERSION}" if self._target.runner == "tvm" else ""
        return f"{self._facts['runtime']}{made}"

    def run(self, name: str, sample: Array) -> tuple[Array, int]:
        """The logits that answer one sample, and their exit."""
        found = self._answered(lambda: self._ask("run", name=self._open(name), sample=sample))
        return found["logits"], found["exit"]

    def run_all(self, name: str, batch: Array) -> Sequence[Array]:
        """The logits of all exits."""
        found: list[Array] = self._answered(lambda: self._ask("run_all", name=self._open(name), batch=batch))
        return found

    def leaving(self, name: str, samples: Sequence[Array]) -> NDArray[np.int64]:
        """The exits at which samples leave [n]."""
        stacked = np.stack(samples)
        found = self._answered(lambda: self._ask("leaving", name=self._open(name), samples=self._send(stacked)))
        return np.array(found, np.int64)

    def time(
        self, wanted: Sequence[Wanted], samples: Sequence[NDArray[np.float32]], plan: Plan, reference: str | None = None
    ) -> dict[str, Times]:
        """Time artefacts there, in interleaved blocks."""
        streams = [each.name for each in wanted if each.stream]
        # Single calls are over all samples too, or caches would be warmer there than here.
        several = bool(streams) or any(each.single is not None for each in wanted)
        stacked = np.stack(samples if several else samples[:1])
        plan = replace(plan, batch=self._target.batch)
        names = [each.name for each in wanted]

        def work() -> dict[str, Any]:
            needed = [*names, *([] if reference is None else [reference])]
            self._make_room(needed)
            there = {name: self._open(name) for name in needed}
            singles = {there[each.name]: each.single for each in wanted if each.single is not None}
            found: dict[str, Any] = self._ask(
                "time",
                names=[there[name] for name in names],
                streams=[there[name] for name in streams],
                samples=self._send(stacked),
                plan=replace(plan, singles=singles),
                reference=None if reference is None else there[reference],
            )
            return found

        self._last = self._answered(work)
        return {name: Times.of(self._last["readings"][self._there(name)]) for name in names}

    def conditions(self) -> Conditions:
        """What the board was like while it was last timed, or is now."""
        last, now = self._last, None
        if last is None:
            now = self._answered(lambda: self._ask("facts", measure=False, runner=""))
            last = {"before": now["shown"], "after": now["shown"], "versions": now["versions"]}
        before, after = _shown(last["before"]), _shown(last["after"])
        where = Place(self._facts["identity"]["name"], last["versions"], self._connection.name)
        return Conditions.of(self.runtime, self._target.threads, before, after, where)

    def close(self) -> None:
        """Forget the artefacts there; a board that is gone has forgotten them."""
        if self._opened and self._connection.is_open(self._generation):
            with contextlib.suppress(DeviceLost):
                self._answered(lambda: self._ask("close", names=[self._there(name) for name in self._opened]))

    def _require_identity(self, there: Mapping[str, str]) -> None:
        name, noted = self._connection.name, self._connection.address.identity
        if noted and (problems := differences(noted, there)):
            raise DeviceLost(
                name,
                f"is another machine than was added ({'; '.join(problems).replace(', here', ', there')}): add it again "
                f"with `nas devices add {name}`, under another name",
            )

    def _answered(self, work: Callable[[], Any]) -> Any:
        def current() -> Any:
            self._ask("missing", sha256=[])  # starts it, where it ended
            if self._connection.generation != self._generation:
                # Whatever answers now may be another machine.
                self._require_identity(self._ask("facts", measure=False, runner="")["identity"])
                self._opened, self._generation = {}, self._connection.generation
            return work()

        return self._connection.answered(current)

    def _ask(self, what: str, **arguments: Any) -> Any:
        return self._connection.ask(what, **arguments)

    def _there(self, name: str) -> str:
        """What an artefact of this session is called on the board, where others have theirs."""
        return f"{self._number}/{name}"

    def _open(self, name: str) -> str:
        if name not in self._opened:
            artefact = self.artefacts[name]
            hashes = [sha256_file(path) for path in artefact.paths]
            self._connection.keep(dict(zip(hashes, artefact.paths, strict=True)))
            self._make_room([name])
            self._ask(
                "open",
                name=self._there(name),
                segments=[
                    {"file": segment.file, "sha256": sha256, "takes": segment.takes, "outputs": segment.outputs}
                    for segment, sha256 in zip(artefact.segments, hashes, strict=True)
                ],
                target={
                    "runner": self._target.runner,
                    "threads": self._target.threads,
                    "provider": self._target.provider,
                },
                thresholds=[None if value is None else float(value) for value in artefact.leaving],
                policy=_policy(artefact),
            )
            self._opened[name] = None
        return self._there(name)

    def _make_room(self, needed: Sequence[str]) -> None:
        """Close what was opened longest ago and is not needed, where more would be loaded than may be."""
        others = [name for name in self._opened if name not in needed]
        new = [name for name in needed if name not in self._opened]
        closing = others[: max(0, len(self._opened) + len(new) - _LOADED)]
        if closing:
            self._ask("close", names=[self._there(name) for name in closing])
            for name in closing:
                del self._opened[name]

    def _send(self, samples: Array) -> str:
        sha256 = sha256_of(samples.tobytes() + repr(samples.shape).encode())
        if not self._ask("has_samples", sha256=sha256):
            self._ask("samples", sha256=sha256, data=samples)
        return sha256


def _shown(record: Mapping[str, Any]) -> Shown:
    clock = record["clock_hz"]
    return Shown(**{**record, "clock_hz": None if clock is None else (clock[0], clock[1])})


def _policy(artefact: Artefact) -> dict[str, Any]:
    return {
        **policy_record(artefact.policy, artefact.policy_arguments),
        "source": policy_file(artefact.policy).read_text(encoding="utf-8"),
    }
