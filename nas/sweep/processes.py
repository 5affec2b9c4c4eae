"""Cells side by side, each as a process of the command `nas run`, with a share of this machine's cores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nas.config.plugins import Plugins
from nas.errors import InputError
from nas.process.cores import THREADS
from nas.process.facts import cores_used
from nas.process.interrupt import GRACE_S
from nas.run.layout import RunFiles
from nas.sweep.workers import Ended, Task

_BEGIN: Final = Path(__file__).with_name("begin.py")
_POLL_S: Final = 0.05
#: Beyond what a run takes to stop where it is asked to, a process may be slow.
_STOPPED_WITHIN_S: Final = GRACE_S + 5.0
_LAST_WORDS: Final = 4096


class Processes:
    """Satisfies `workers.Workers`: up to `workers` processes, each on cores of its own."""

    def __init__(self, workers: int, plugins: Plugins) -> None:
        shares = shares_of(cores_used(), workers)
        self._plugins = plugins
        self._idle = list(reversed(shares))
        self._running: dict[str, tuple[subprocess.Popen[bytes], Sequence[int], RunFiles]] = {}

    def free(self) -> int:
        """How many shares of the cores nobody has."""
        return len(self._idle)

    def begin(self, task: Task) -> None:
        """Start a process, whose output goes to the cell's folder."""
        cores = self._idle.pop()
        command = [sys.executable, "-P", "-m", "nas", "run", str(task.files.experiment)]
        command += ["--out", str(task.files.root), "--resume"]
        command += ["--plugins", ",".join(self._plugins.named)] if self._plugins.named else []
        beginning = [sys.executable, "-IS", str(_BEGIN), ",".join(map(str, cores)), str(os.getpid())]
        packages = str(Path(__file__).parents[2])
        environment = {**os.environ, **dict.fromkeys(THREADS, str(len(cores)))}
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
        self._running[task.name] = process, cores, task.files

    def ended(self, patience_s: float) -> list[Ended]:
        """The processes that have ended, and why."""
        end = time.monotonic() + patience_s
        while True:
            gone = [name for name, (process, _, _) in self._running.items() if process.poll() is not None]
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

    def _taken_off(self, name: str) -> Ended:
        process, cores, files = self._running.pop(name)
        self._idle.append(cores)
        if process.returncode < 0:
            return Ended(name, f"its process was ended by {signal.Signals(-process.returncode).name}")
        return Ended(name, _last_words(files.output) or f"its process ended with {process.returncode}")


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
