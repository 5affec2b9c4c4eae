"""Cells one after the other in this process: what is imported and compiled is there for the next one."""

from __future__ import annotations

import os
import traceback
from types import TracebackType
from typing import Self

from hardware_profiles import ProfileError
from latency_models import UnpricedOperator
from nas.config import parse
from nas.config.plugins import Plugins
from nas.devices.base import DeviceFinder
from nas.devices.finding import find_device
from nas.errors import InputError, NothingFits, StoppedEarly
from nas.process.events import Event, Voice
from nas.process.files import write_bytes
from nas.run.folder import RunFolder
from nas.run.layout import RunFiles
from nas.run.opening import materials, open_context
from nas.stages import order
from nas.sweep.rungs import rungs_of
from nas.sweep.workers import Ended, Task
from search_spaces.operators import ShapeError
from search_spaces.slots import SpaceError

#: What the user can mend, by its text alone.
USERS = (InputError, ProfileError, ShapeError, SpaceError, UnpricedOperator)


class InThisProcess:
    """Satisfies `workers.Workers`."""

    def __init__(self, plugins: Plugins, devices: DeviceFinder = find_device) -> None:
        self._plugins, self._devices = plugins, devices
        self._ended: list[Ended] = []

    def free(self) -> int:
        """One, unless its end was not asked for yet."""
        return 0 if self._ended else 1

    def begin(self, task: Task) -> None:
        """Run a cell to its end; raises KeyboardInterrupt where the process was asked to stop."""
        with _Output(task.files) as output:
            cause = ""
            try:
                self._run(task, Voice(output.hear))
            except (NothingFits, StoppedEarly) as error:
                output.say(error.statement)
            except USERS as error:
                cause = " ".join(str(error).splitlines())
                output.say(f"error: {cause}")
            except Exception as error:  # noqa: BLE001 (whatever it is, it is this cell's, and the others go on)
                output.say(traceback.format_exc())
                cause = f"it raised {type(error).__name__}: {error}; see {task.files.output.name} in its folder"
        self._ended.append(Ended(task.name, cause))

    def ended(self, patience_s: float) -> list[Ended]:
        """The cell that was begun last."""
        found, self._ended = self._ended, []
        return found

    def close(self) -> None:
        """Nothing runs any more when `begin` has returned."""

    def _run(self, task: Task, voice: Voice) -> None:
        experiment = parse.load(task.files.experiment, plugins=self._plugins)
        rungs = None if task.sweep is None else rungs_of(task.sweep, task.name)
        found = materials(experiment, begun=True)
        with RunFolder.open(task.files.root, resume=True) as folder:
            order.run(open_context(experiment, found, folder, voice, self._devices, rungs))


class _Output:
    """What a cell says, line by line, into its folder."""

    def __init__(self, files: RunFiles) -> None:
        self._path = files.output

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)

    def hear(self, event: Event) -> None:
        """A watcher: write what is no step of many."""
        if event.kind in ("stage", "note", "warning"):
            self.say(event.text)

    def say(self, text: str) -> None:
        """Write a line."""
        write_bytes(self._descriptor, f"{text.rstrip()}\n".encode(errors="replace"))
