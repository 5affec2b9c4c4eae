"""Several at a time, in processes of this machine that begin afresh, each with so many threads.

A process that was forked would have inherited XLA's threads, which no fork takes along; and how many threads XLA and
BLAS have is settled when they are loaded. So each begins as a program of its own, with its numbers in its environment,
and ends with the process that began it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Final, TypeVar

import nas
from nas.process import begin
from nas.process.facts import cores_used
from nas.process.threads import limited_to
from nas.search.executors import worker as program
from nas.search.executors.base import Failure, crowded, require_counts
from nas.search.executors.dispatch import Answered, Died, Dispatch

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

_LOG: Final = logging.getLogger(program.WARNS)
#: A process that is told to end does so at once, unless the system is slow.
_ENDS_WITHIN_S: Final = 5.0
_LAST_WORDS: Final = 4096


class Processes:
    """Satisfies `base.Executor`: `workers` processes, as many as the cores allow if none is given.

    Raises InputError for numbers that cannot be.
    """

    elsewhere: Final = True

    def __init__(self, *, workers: int | None = None, threads_per_worker: int = 1) -> None:
        require_counts(workers, threads_per_worker)
        cores = len(cores_used())
        self.workers = max(1, cores // threads_per_worker) if workers is None else workers
        self.remark = crowded(self.workers, threads_per_worker, cores)
        self._dispatch = Dispatch(_Children(threads_per_worker), self.workers)

    def map(self, task: Callable[[_Item], _Answer], items: Sequence[_Item]) -> Iterator[_Answer | Failure]:
        """An answer or a failure per item, in order."""
        return self._dispatch.map(task, items)

    def close(self) -> None:
        """End the processes."""
        self._dispatch.close()


@dataclass
class _Child:
    """A process, its end of the pipe, what it prints, which is read if it dies, and whether its item has reached it."""

    process: subprocess.Popen[bytes]
    connection: Connection
    output: IO[bytes]
    reached: bool = False


class _Children:
    """Satisfies `dispatch.Crew`."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._children: dict[int, _Child] = {}
        self._last = 0
        self._warned: set[str] = set()

    def begin(self) -> int:
        """Start a process."""
        ours, theirs = socket.socketpair()
        output = tempfile.TemporaryFile()  # noqa: SIM115 (until the process has ended)
        beginning = [sys.executable, "-IS", begin.__file__, ",".join(map(str, cores_used())), str(os.getpid())]
        command = [sys.executable, "-P", "-m", program.__name__, str(theirs.fileno())]
        packages = str(Path(nas.__file__).parents[1])
        environment = {**os.environ, **limited_to(self._threads)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH"))))
        with theirs:
            # A group of its own: what is typed at the terminal reaches this process, which ends that one.
            process = subprocess.Popen(
                [*beginning, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                process_group=0, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        child = _Child(process, Connection(ours.detach()), output)
        self._last += 1
        self._children[self._last] = child
        _send(child, pickle.dumps(sys.path))
        return self._last

    def give(self, worker: int, task: bytes, item: bytes) -> None:
        """Send both."""
        self._children[worker].reached = False
        _send(self._children[worker], task, item)

    def heard(self, patience_s: float) -> list[Answered | Died]:
        """What has come, and who has died."""
        ready = wait([child.connection for child in self._children.values()], patience_s)
        found: list[Answered | Died] = []
        for number, child in list(self._children.items()):
            if child.connection in ready:
                try:
                    received = child.connection.recv_bytes()
                except (EOFError, OSError):
                    found.append(Died(number, _how_it_ended(child), child.reached))
                    self.end(number)
                    continue
                kind, content = received[:1], received[1:]
                if kind == program.OUTCOME:
                    found.append(Answered(number, content))
                elif kind == program.WARNING:
                    self._warn(content.decode())
                elif kind == program.REACHED:
                    child.reached = True
        return found

    def end(self, worker: int) -> None:
        """Kill a process; all that it may write is whole at any instant."""
        child = self._children.pop(worker)
        child.connection.close()
        child.process.kill()
        child.process.wait()
        child.output.close()

    def _warn(self, text: str) -> None:
        """Say what workers warn of, once."""
        if text not in self._warned:
            self._warned.add(text)
            _LOG.warning("%s", text)


def _send(child: _Child, *messages: bytes) -> None:
    with contextlib.suppress(OSError):  # it has died, which will be heard
        for message in messages:
            child.connection.send_bytes(message)


def _how_it_ended(child: _Child) -> str:
    """Why a process that closed its pipe has ended: by a signal, or with a code and with what it said last."""
    try:
        code = child.process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.process.kill()
        code = child.process.wait()
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    child.output.seek(0, os.SEEK_END)
    child.output.seek(max(0, child.output.tell() - _LAST_WORDS))
    lines = [line.strip() for line in child.output.read().decode(errors="replace").splitlines() if line.strip()]
    # What is killed from outside is not asked for its last words, and those of before are about something else.
    said = f" ({lines[-1][:200]})" if lines and code != -signal.SIGKILL else ""
    return f"its process {how}{said}"
