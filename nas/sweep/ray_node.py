"""What does a machine of a Ray cluster do for a sweep? It shows that it sees the sweep's folder, and runs cells."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas.config.plugins import Plugins
from nas.process import cores, interrupt
from nas.process.files import RunFolderError, atomic_write_bytes
from nas.process.lock import lock, unlock
from nas.process.release import VERSION
from nas.process.threads import BLAS
from nas.run.layout import RunFiles
from nas.run.progress import progress_of
from nas.sweep.layout import SweepFiles

#: A machine that was cut off from the cluster ends what runs there after about a minute, and lets go of its folder.
_FREE_WITHIN_S: Final = 150.0
_POLL_S: Final = 0.2
#: How a worker ends that was asked to stop and came to no safe place in time.
_LEFT: Final = 1
#: What the driver writes for every machine to find.
FROM_DRIVER: Final = "driver"


@dataclass(frozen=True)
class Order:
    """A cell to be run: its folder, and where and with what; paths are absolute, and the same on all machines.

    `sweep` is the folder of the sweep that may stop it early, None where nobody does.
    """

    name: str
    folder: str
    working_directory: str
    plugins: Plugins
    cpus: int
    gpus: int
    sweep: str | None = None


@dataclass(frozen=True)
class Probe:
    """What a machine is asked beforehand: whether it finds `token` in a folder, and may write and lock there too."""

    folder: str
    token: str
    working_directory: str
    version: str


def look(probe: Probe, name: str) -> str:
    """Why a machine cannot run cells, with what to do; empty where it can. Leaves the token in a file named `name`."""
    if probe.version != VERSION:
        return f"has hwnas {VERSION}, and this one {probe.version}; install the same on all machines"
    folder = Path(probe.folder)
    remedy = "run folders have to lie where every machine sees them; choose such a place with --out"
    try:
        seen = (folder / FROM_DRIVER).read_text(encoding="ascii")
    except OSError as error:
        return f"does not see {folder.parent} as this one does ({error.strerror or error}): {remedy}"
    if seen != probe.token:
        return f"has another folder {folder.parent} than this one: {remedy}"
    try:
        atomic_write_bytes(folder / name, seen.encode())
        descriptor = os.open(folder / name, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
    except (OSError, RunFolderError) as error:
        return f"cannot write and lock files in {folder.parent} ({getattr(error, 'strerror', None) or error}): {remedy}"
    if not os.path.isdir(probe.working_directory):
        return (
            f"has no folder {probe.working_directory}, which relative paths of experiments start from; give the "
            "command in a folder that every machine sees"
        )
    return ""


def run(order: Order) -> str:
    """Run a cell to its end, or go on with it; why it stopped before that, else empty, as `workers.Ended` has it.

    Raises KeyboardInterrupt where it was asked to stop, at a place from which the run goes on.
    """
    files = RunFiles(Path(order.folder))
    if not files.experiment.is_file():
        return f"{os.uname().nodename} does not see {files.experiment}; folders have to lie where every machine does"
    with interrupt.deferred(_LEFT), _said_into(files.output), cores.share(order.cpus):
        os.chdir(order.working_directory)
        _limit(order)
        _wait_until_free(files.root)
        if progress_of(files).over:
            return ""  # by the one who had it, while this machine was to go on with it
        return _run(order, files)


def _run(order: Order, files: RunFiles) -> str:
    # Heavy: libraries count the cores when they are imported.
    from nas.sweep.in_process import InThisProcess
    from nas.sweep.workers import Task

    workers = InThisProcess(order.plugins)
    workers.begin(Task(order.name, files, SweepFiles(Path(order.sweep)) if order.sweep else None))
    (ended,) = workers.ended(0)
    return ended.cause


def _limit(order: Order) -> None:
    """Keep libraries to the cores of this cell, those that are loaded already and those that will be."""
    from threadpoolctl import threadpool_limits

    from nas.process.heap import keep_heap
    from nas.process.log import to_stderr

    keep_heap()
    to_stderr("nas.process")
    os.environ.update(dict.fromkeys(BLAS, str(order.cpus)))
    threadpool_limits(order.cpus)
    if not order.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves them open to who asked for none


def _wait_until_free(folder: Path) -> None:
    """Wait while somebody has the folder: such as a cell of this sweep whose driver, or machine, was lost.

    Who has it for longer is named by the run itself.
    """
    end = time.monotonic() + _FREE_WITHIN_S
    while time.monotonic() < end:
        try:
            unlock(lock(folder))
        except RunFolderError:
            interrupt.stop_if_asked()
            time.sleep(_POLL_S)
        else:
            return


@contextlib.contextmanager
def _said_into(path: Path) -> Iterator[None]:
    """What this process says, native code included, goes to a file."""
    streams = (sys.stdout, sys.stderr)
    before = [os.dup(number) for number in (1, 2)]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        for number in (1, 2):
            os.dup2(descriptor, number)
        yield
    finally:
        for stream in streams:
            stream.flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
        for each in (descriptor, *before):
            os.close(each)
