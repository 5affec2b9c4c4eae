"""Workers that run nothing: they write what a run would leave, as far as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from nas.config import parse
from nas.config.settings import Experiment
from nas.process.files import atomic_write_bytes
from nas.run.folder import RunFolder
from nas.run.layout import RunFiles
from nas.run.progress import progress_of
from nas.run.rungs import AtRung
from nas.sweep import folder
from nas.sweep.cells import cells_of
from nas.sweep.layout import SweepFiles
from nas.sweep.rungs import rungs_of
from nas.sweep.running import Happened, carry_out
from nas.sweep.sharing import Planned, planned
from nas.sweep.sweep_file import load
from nas.sweep.workers import Ended, Task

#: Cells that were read before, by what stands in the files.
_CELLS: dict[tuple[str, str], tuple[Planned, ...]] = {}
STEPS = ("calibrate", "supernet", "search", "report")


class Died(Exception):
    """The process that carries a sweep out was killed."""


def dying_after(ticks: int) -> Callable[[], None]:
    """What is called at each tick, and kills the process once so many are over."""
    left = ticks

    def tick() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Died

    return tick


class Pretended:
    """Satisfies `nas.sweep.workers.Workers`: `room` cells at a time, each a step further at each question who ended.

    A cell that ends is complete, since nothing fits; `fails` are cells that stop at a step, by name. Cells that are
    under way when the process dies go on from their folders. Where their sweep has a scheduler, `worth` says what they
    report while they train.
    """

    worth: Callable[[Experiment], float] | None = None

    def __init__(self, room: int = 1, fails: dict[str, str] | None = None) -> None:
        self.room, self.fails = room, fails or {}
        self.running: dict[str, RunFiles] = {}
        self.sweeps: dict[str, SweepFiles | None] = {}
        self.begun: list[str] = []
        self.trained: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()
        self.most_at_a_time = 0
        self.tick: Callable[[], None] = lambda: None

    def free(self) -> int:
        return self.room - len(self.running)

    def begin(self, task: Task) -> None:
        assert self.free() > 0
        self.begun.append(task.name)
        self.running[task.name], self.sweeps[task.name] = task.files, task.sweep
        self.most_at_a_time = max(self.most_at_a_time, len(self.running))
        self.tick()

    def ended(self, patience_s: float) -> list[Ended]:
        done = []
        for name, files in list(self.running.items()):
            self.tick()
            step = STEPS[len(reached(files))]
            if self.fails.get(name) == step:
                done.append(Ended(name, f"broke in {step}"))
            else:
                self._go(name, files, step)
                if step == STEPS[-1] or progress_of(files).stopped is not None:
                    done.append(Ended(name))
        for each in done:
            del self.running[each.name]
        return done

    def close(self) -> None:
        self.running.clear()

    def _go(self, name: str, files: RunFiles, step: str) -> None:
        with RunFolder.open(files.root, resume=True) as run:
            atomic_write_bytes(files.environment, b"{}")
            run.log("begin", stage=step)
            if step == "supernet":
                experiment = parse.load(files.experiment)
                taken = experiment.supernet.reuse
                if taken is None and self._is_stopped(name, experiment, run):
                    return
                if taken is None:
                    self.trained[name] += 1
                else:
                    assert RunFiles(Path(taken)).supernet.is_file()
                atomic_write_bytes(files.supernet, b"weights")
            if step == "report":
                self.completed[name] += 1
                run.log("nothing fits", statement="nothing fits")
                atomic_write_bytes(files.report, b"page")
            self.tick()
            run.log("end", stage=step, seconds=1.0)

    def _is_stopped(self, name: str, experiment: Experiment, run: RunFolder) -> bool:
        """Report and stop as the stage does, with an instant at which one can be killed between all that is written."""
        sweep = self.sweeps.get(name)
        rungs = None if sweep is None else rungs_of(sweep, name)
        if rungs is None or self.worth is None:
            return False
        for epoch in rungs.epochs(experiment.supernet.epochs):
            self.tick()
            if rungs.reported(epoch) is None:
                rungs.report(epoch, AtRung(self.worth(experiment), "worst", ()))
                self.tick()
            if rungs.stops(epoch):
                run.log("stopped", stage="supernet", epoch=epoch, value=self.worth(experiment), seconds=1.0)
                return True
        return False


def reached(files: RunFiles) -> list[str]:
    """The steps that a pretended run has ended."""
    text = files.log.read_text() if files.log.exists() else ""
    return [step for step in STEPS if f'"event":"end","stage":"{step}"' in text]


def begun(path: Path, out: Path) -> tuple[SweepFiles, tuple[Planned, ...]]:
    """A sweep's folder as it is before the first cell begins."""
    written = path.read_text(), path.with_name("base.yaml").read_text()
    if written not in _CELLS:
        _CELLS[written] = planned(cells_of(load(path)))
    cells, files = _CELLS[written], SweepFiles(out)
    out.mkdir(exist_ok=True)
    folder.write(files, "sweep", cells, load(path).scheduler)
    return files, cells


def carried_out(files: SweepFiles, cells: Sequence[Planned], workers: Pretended) -> dict[str, str]:
    """Carry a sweep out; returns the causes of cells that failed."""
    told: list[Happened] = []
    carry_out(files, cells, workers, told.append)
    assert [each.name for each in told if each.kind == "begin"] == workers.begun
    ends = {each.name: each.cause for each in told if each.kind == "end"}
    # Those that wait for weights whose training is stopped end without having begun.
    assert sorted(ends) == sorted(workers.begun) or (workers.worth and {*ends} > {*workers.begun})
    return {name: cause for name, cause in ends.items() if cause}
