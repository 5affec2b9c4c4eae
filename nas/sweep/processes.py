"""Cells side by side, each as a process of the command `nas run`, with a share of this machine's cores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nas.config.plugins import Plugins
from nas.errors import InputError
from nas.process import begin
from nas.process.facts import cores_used
from nas.process.files import write_bytes
from nas.process.interrupt import GRACE_S
from nas.process.threads import BLAS
from nas.sweep.workers import Ended, Task

_BEGIN: Final = Path(begin.__file__)
_POLL_S: Final = 0.05
#: Beyond what a run takes to stop where it is asked to, a process may be slow.
_STOPPED_WITHIN_S: Final = GRACE_S + 5.0
_LAST_WORDS: Final = 4096
#: So often a cell is begun whose process is killed: whoever did that, or a lack of memory, may be gone.
_STARTS: Final = 3
#: These ask a process to stop; it is not begun again.
_ASKED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Processes:
    """Satisfies `workers.Workers`: up to `workers` processes, each on cores of its own."""

    def __init__(self, workers: int, plugins: Plugins) -> None:
        shares = shares_of(cores_used(), workers)
        self._plugins = plugins
        self._idle = list(reversed(shares))
        self._running: dict[str, tuple[subprocess.Popen[bytes], Sequence[int], Task]] = {}
        self._starts: Counter[str] = Counter()

    def free(self) -> int:
        """How many shares of the cores nobody has."""
        return len(self._idle)

    def begin(self, task: Task) -> None:
        """Start a process, whose output goes to the cell's folder."""
        self._starts[task.name] = 0
        self._start(task, self._idle.pop())

    def _start(self, task: Task, cores: Sequence[int]) -> None:
        self._starts[task.name] += 1
        command = [sys.executable, "-P", "-m", "nas", "run", str(task.files.experiment)]
        command += ["--out", str(task.files.root), "--resume"]
        command += ["--plugins", ",".join(self._plugins.named)] if self._plugins.named else []
        command += ["--cell-of", str(task.sweep.root)] if task.sweep is not None else []
        beginning = [sys.executable, "-IS", str(_BEGIN), ",".join(map(str, cores)), str(os.getpid())]
        packages = str(Path(__file__).parents[2])
        environment = {**os.environ, **dict.fromkeys(BLAS, str(len(cores)))}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (packages, os.environ.get("PYTHONPATH"))))
        output = os.open(task.files.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            # A group of its own: what is typed at the terminal reaches this process, which passes it on.
            process = subprocess.Popen(
                [*beginning, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                process_group=0,
            )  # fmt: skip
        finally:
            os.close(output)
        self._running[task.name] = process, cores, task

    def ended(self, patience_s: float) -> list[Ended]:
        """The processes that have ended, and why."""
        end = time.monotonic() + patience_s
        while True:
            gone = [name for name, (process, _, _) in self._running.items() if process.poll() is not None]
            gone = [name for name in gone if not self._goes_on(name)]
            if gone or not self._running or time.monotonic() > end:
                return [self._taken_off(name) for name in gone]
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Ask every process to stop, and end those that do not."""
        for process, _, _ in self._running.values():
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + _STOPPED_WITHIN_S
        for process, _, _ in self._running.values():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def _goes_on(self, name: str) -> bool:
        """Begin a cell again whose process was killed, unless that happened too often: it goes on from its folder."""
        process, cores, task = self._running[name]
        killed = process.returncode < 0 and -process.returncode not in _ASKED
        if not killed or self._starts[name] >= _STARTS:
            return False
        with task.files.output.open("ab", buffering=0) as output:
            write_bytes(output.fileno(), f"its process was ended by {_named(process)}, and it goes on\n".encode())
        self._start(task, cores)
        return True

    def _taken_off(self, name: str) -> Ended:
        process, cores, task = self._running.pop(name)
        self._idle.append(cores)
        if process.returncode < 0:
            times = f" {self._starts[name]} times" if self._starts[name] > 1 else ""
            return Ended(name, f"its process was ended by {_named(process)}{times}")
        return Ended(name, _last_words(task.files.output) or f"its process ended with {process.returncode}")


def _named(process: subprocess.Popen[bytes]) -> str:
    """The signal that ended a process."""
    return signal.Signals(-process.returncode).name


def shares_of(cores: Sequence[int], workers: int) -> list[Sequence[int]]:
    """The cores of each worker, as many for one as for another; raises InputError where they are too few."""
    if not 1 <= workers <= len(cores):
        raise InputError(
            f"--workers is {workers}, and this process may use {len(cores)} core{'s' * (len(cores) != 1)}: give from 1 "
            "to as many, since more cells at a time would only wait for each other"
        )
    each = len(cores) // workers
    return [cores[number * each : (number + 1) * each] for number in range(workers)]


def _last_words(path: Path) -> str:
    """The last line of what a process said."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LAST_WORDS))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next(
        (line.strip().removeprefix("nas: ").removeprefix("error: ") for line in reversed(lines) if line.strip()), ""
    )
