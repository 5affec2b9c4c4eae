"""Running TVM libraries on another machine, or on this one as if it were another, over TVM's RPC.

Whatever the library does has a deadline here, as a lease, a queue and a lost board can each block it forever: a job
runs in a thread of its own, and a server that this process started is killed when time is up, which frees the thread.
Every failure becomes one RpcError whose sentence says what was being done.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nas.deploy.tvm import available
from nas.devices.runners.base import Array
from nas.devices.timing.plan import Plan
from nas.devices.timing.readings import Readings
from nas.errors import InputError

LOOPBACK = "127.0.0.1"
_CONNECTING = "connecting"
_T = TypeVar("_T")


class RpcError(RuntimeError):
    """A device did not do what it was asked to; the message says what, where and why."""


class LocalServer:
    """An RPC server on this machine, started and stopped by this process; see `local_server`."""

    def __init__(self, port: int, key: str, process: subprocess.Popen[str], folder: str) -> None:
        self.port, self.key, self.process, self.folder = port, key, process, folder

    def stop(self) -> None:
        """Kill the server and its session, and wait until they are gone."""
        # Also when the leader is dead: the process it forked for a session may not be.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        # A session that is killed leaves the libraries behind that were sent to it.
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def local_server(threads: int = 1, deadline_s: float = 60.0) -> Iterator[LocalServer]:
    """Start a server on 127.0.0.1 and a free port, with a key nobody can guess; stop it on the way out.

    Libraries run in it on so many `threads`.

    Raises InputError without TVM, RpcError if the server does not listen in time.
    """
    importable, reason = available()
    if not importable:
        raise InputError(f"cannot start a TVM server: {reason}")
    server = _start(threads, deadline_s)
    try:
        yield server
    finally:
        server.stop()


def _start(threads: int, deadline_s: float) -> LocalServer:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    key = secrets.token_hex(16)
    folder = tempfile.mkdtemp(prefix="tvm-rpc-")
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("rpc_server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process group of its own, so that one signal ends the server and what it forked, and nothing else.
        start_new_session=True,
        env={**os.environ, "TMPDIR": folder, "TVM_NUM_THREADS": str(threads)},
    )
    server = LocalServer(port, key, process, folder)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    # Whatever goes wrong, an interrupted start must not leave a server behind.
    with contextlib.ExitStack() as undo:
        undo.callback(server.stop)
        settings = {"host": LOOPBACK, "port": port, "key": key, "parent": os.getpid(), "folder": folder}
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(settings) + "\n")
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], deadline_s)
        if not ready:
            raise RpcError(f"the RPC server on {LOOPBACK}:{port} did not listen within {deadline_s:g} s")
        if process.stdout.readline() != "listening\n":
            words = process.stderr.read().strip().splitlines() or ["it said nothing"]
            raise RpcError(f"the RPC server on {LOOPBACK}:{port} ended at once: {words[-1]}")
        undo.pop_all()
    return server


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens; `local` is the server itself if this process started it.

    A session has at most `deadline_s` seconds for everything: connecting, sending the library, loading, running.
    """

    host: str
    port: int
    key: str = ""
    deadline_s: float = 60.0
    local: LocalServer | None = None

    @staticmethod
    def of(server: LocalServer, deadline_s: float = 60.0) -> Server:
        """This machine, through a server that was started here."""
        return Server(LOOPBACK, server.port, server.key, deadline_s, server)

    def run(self, library: Path, *inputs: Array) -> list[Array]:
        """Send a library, run its `main` once on float32 arrays; returns its outputs. Raises RpcError."""

        def job(session: _Session) -> list[Array]:
            machine = session.machine(library, inputs)
            session.doing = "running the library"
            return session.outputs(machine)

        return self._in_time(job)

    def time(self, library: Path, *inputs: Array, plan: Plan | None = None) -> Readings:
        """Send a library and take readings of its `main` by the device's own clock, transfers apart.

        There is no CPU clock at the other end: `cpu_s` is NaN and contention is not known. Raises RpcError.
        """
        plan = plan or Plan()

        def job(session: _Session) -> Readings:
            machine = session.machine(library, inputs)
            session.doing = "timing the library"
            per_call = session.seconds(machine, calls=1, readings=3).min()
            calls, n = plan.calls_and_readings(per_call)
            wall_s = np.stack([session.seconds(machine, calls, n) for _ in range(plan.blocks)])
            return Readings(wall_s, np.full_like(wall_s, np.nan), calls=calls, threads=plan.threads)

        return self._in_time(job)

    def _in_time(self, job: Callable[[_Session], _T]) -> _T:
        importable, reason = available()
        if not importable:
            raise InputError(f"cannot talk to a TVM server: {reason}")
        session = _Session(self)
        answers: list[_T] = []
        failures: list[str] = []

        def work() -> None:
            # Errors leave as text: a traceback would keep remote objects alive, and with them the session.
            try:
                session.open()
                answers.append(job(session))
            except (RuntimeError, OSError, ValueError, AttributeError, TypeError) as error:
                failures.append(_plain(error))
            finally:
                session.close()

        start = time.monotonic()
        thread = threading.Thread(target=work, daemon=True, name="tvm-rpc")
        thread.start()
        thread.join(self.deadline_s)
        where = f"{self.host}:{self.port}"
        if thread.is_alive():
            doing = session.doing
            if self.local is not None:
                self.local.stop()
                thread.join(5.0)
            hint = "; a server serves one session at a time, is it in use?" if doing == _CONNECTING else ""
            raise RpcError(f"{doing} on {where} was not done after {self.deadline_s:g} s{hint}")
        if failures:
            spent = time.monotonic() - start
            raise RpcError(f"{session.doing} on {where} failed after {spent:.1f} s: {failures[0]}")
        return answers[0]


class _Session:
    """A connection, used by one thread only, and what is being done over it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.doing = _CONNECTING
        self.remote: Any = None

    def open(self) -> None:
        import tvm.rpc

        # The server drops the session at the same deadline: a client that went away must not block the device.
        limit = math.ceil(self.server.deadline_s) + 1
        self.remote = tvm.rpc.connect(self.server.host, self.server.port, self.server.key, session_timeout=limit)

    def close(self) -> None:
        """End the session: it would last until the last of its objects is collected, and the next one wait for that."""
        remote, self.remote = self.remote, None
        if remote is not None:
            with contextlib.suppress(RuntimeError):
                remote.get_function("CloseRPCConnection")()

    def machine(self, library: Path, inputs: Sequence[Array]) -> Any:
        """A virtual machine on the device with the library loaded and the inputs set."""
        import tvm
        from tvm.runtime.vm import VirtualMachine

        self.doing = f"sending {library.name}"
        # Every session of TVM's server has a folder of its own, so that the name need not be unique.
        self.remote.upload(bytearray(library.read_bytes()), "library.so")
        self.doing = f"loading {library.name}"
        machine = VirtualMachine(self.remote.load_module("library.so"), self.remote.cpu())
        self.doing = "sending the inputs"
        machine.set_input("main", *(tvm.runtime.tensor(value, self.remote.cpu()) for value in inputs))
        return machine

    def outputs(self, machine: Any) -> list[Array]:
        machine.invoke_stateful("main")
        made = machine.get_outputs("main")
        return [made.numpy()] if hasattr(made, "numpy") else [output.numpy() for output in made]

    def seconds(self, machine: Any, calls: int, readings: int) -> Any:
        """Seconds per call, [readings], each the mean of `calls` calls, by the device's clock."""
        timer = machine.time_evaluator("invoke_stateful", self.remote.cpu(), number=calls, repeat=readings)
        return np.asarray(timer("main").results, np.float64)


def _plain(error: BaseException) -> str:
    """What a TVM error means, in a sentence."""
    text = " ".join(str(error).split())
    known = {
        "kShutdown": "the server went away",
        "Connect to": "nothing listens there",
        "RPCSessionTimeoutError": "the server ended the session, its time was up",
        "session has expired": "the server ended the session, its time was up",
        "cannot find server that matches key": "the server there has another key",
        "Failed to load dynamic shared library": "the device cannot load this library; is it for its processor?",
    }
    for sign, sentence in known.items():
        if sign in text:
            return f"{sentence} ({text[:300]})"
    return text[:500]
