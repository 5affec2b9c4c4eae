"""The project from Python: begin a run or go on with one, read what it left, and take a winner as a flax module.

Nothing here prints. What happens goes to the logger `nas`, and to `progress`, a function of a
`nas.process.events.Event`, if one is given. What an experiment names as `module:name` is loaded only if its module is
among `plugins`, as on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.config import parse
from nas.config.plugins import NO_PLUGINS, Plugins, granted
from nas.config.settings import Experiment
from nas.errors import InputError, NothingFits
from nas.process.events import Voice, Watcher, unwatched
from nas.run.layout import RunFiles
from nas.run.verdict import Verdicts
from nas.run.verdict_files import load_verdicts

if TYPE_CHECKING:
    from collections.abc import Callable

    from nas.nn.module import NetworkModule
    from nas.run.context import Context
    from nas.run.trial import Trial
    from search_spaces.ir import Network

    Work = Callable[[Context], object]


@dataclass(frozen=True)
class Run:
    """A run on disk: its folder, its experiment, and what stands there so far."""

    path: Path
    experiment: Experiment
    _plugins: Plugins = field(default=NO_PLUGINS, repr=False)

    @property
    def files(self) -> RunFiles:
        """Where its files lie."""
        return RunFiles(self.path)

    @property
    def verdicts(self) -> Verdicts:
        """What was measured and tested so far; `verdicts.kept` says whether every budget is kept."""
        return load_verdicts(self.files)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every network that was judged, in order; () before the search."""
        from nas.process.files import read_jsonl
        from nas.run.trial import Trial

        return tuple(Trial.from_json(record) for record in read_jsonl(self.files.trials))

    @property
    def front(self) -> tuple[Trial, ...]:
        """The Pareto set of the search; raises InputError before it has ended."""
        from nas.process.files import read_json, understood
        from nas.run.trial import Trial

        if not self.files.front.exists():
            raise InputError(f"{self.path} has no {self.files.front.name} yet: the search has not come to its end")
        record = read_json(self.files.front, "delete it, and the search ends again")
        with understood(self.files.front, "delete it, and the search ends again"):
            return tuple(Trial.from_json(each) for each in record["pareto"])

    @cached_property
    def _context(self) -> Context:
        from nas.run.opening import reopen

        return reopen(self.path, self._plugins)

    def network(self, genome: Sequence[int]) -> Network:
        """The network of a genome of the run's space."""
        return self._context.space.decode(tuple(genome))

    def load_winner(self, budget: str) -> NetworkModule:
        """The trained winner of a budget as a flax `nnx.Module`; raises InputError where there is none yet."""
        from nas.nn.module import NetworkModule
        from nas.run.winners import load_network, standing

        winners, unmet = standing(self._context)
        if budget not in winners:
            why = unmet.get(budget) or f"there is no such budget; this run has {', '.join(winners) or 'no winners'}"
            raise InputError(f"budget {budget!r} has no winner: {why}")
        return NetworkModule(*load_network(self._context, winners[budget]))


def load_experiment(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), plugins: Sequence[str] = ()
) -> Experiment:
    """An experiment, from a YAML file or from what one would hold; `overrides` are `key.path=value` texts.

    Raises InputError naming the key, the value and what to do.
    """
    from nas.config import plain_yaml

    if not isinstance(source, Mapping):
        return parse.load(Path(source), tuple(overrides), granted(plugins))
    data = dict(source)
    for override in overrides:
        plain_yaml.override(data, override)
    return parse.experiment(data, granted(plugins))


def run_experiment(
    experiment: Experiment, out: str | Path, *, resume: bool = False, progress: Watcher = unwatched
) -> Run:
    """Do everything, from calibrating to the report, in the folder `out`; with `resume` go on with what is there.

    Raises InputError for what cannot be used, and NothingFits, after the report is written, where no network can keep
    any budget.
    """
    from nas.stages import order

    return _worked(experiment, Path(out), resume, progress, order.run)


def search_experiment(
    experiment: Experiment, out: str | Path, *, resume: bool = False, progress: Watcher = unwatched
) -> Run:
    """Calibrate and search only; raises as `run_experiment`."""
    from nas.stages import order

    return _worked(experiment, Path(out), resume, progress, order.search)


def open_run(path: str | Path, plugins: Sequence[str] = ()) -> Run:
    """A run that is there, whether or not it has ended; raises InputError for a folder that is none."""
    files = RunFiles(Path(path))
    if not files.experiment.is_file():
        raise InputError(f"{files.root} is not a run: it has no {files.experiment.name}")
    allowed = granted(plugins)
    return Run(files.root, parse.load(files.experiment, plugins=allowed), allowed)


def verify_run(run: Run, *, progress: Watcher = unwatched) -> Verdicts:
    """Measure the winners of a run anew, and compare and test what was exported; raises InputError before it is."""
    from nas.stages import order

    with _opened(run.experiment, run.path, True, progress) as context:
        order.one_stage("verify", context)
    return run.verdicts


def load_winner(run: Run | str | Path, budget: str) -> NetworkModule:
    """The trained winner of a run's budget as a flax `nnx.Module`; raises InputError where there is none yet."""
    return (run if isinstance(run, Run) else open_run(run)).load_winner(budget)


@contextmanager
def _opened(experiment: Experiment, path: Path, resume: bool, progress: Watcher) -> Iterator[Context]:
    from nas.outlook.rehearsal import opened
    from nas.run.folder import RunFolder
    from nas.run.opening import open_context

    begun = resume and path.is_dir() and any(path.iterdir())
    found = opened(experiment, begun)
    with RunFolder.open(path, resume=begun) as folder:
        yield open_context(experiment, found, folder, Voice(progress))


def _worked(experiment: Experiment, path: Path, resume: bool, progress: Watcher, work: Work) -> Run:
    with _opened(experiment, path, resume, progress) as context:
        work(context)
    return Run(path, experiment, experiment.plugins)


__all__ = [
    "Experiment",
    "InputError",
    "NothingFits",
    "Run",
    "Verdicts",
    "load_experiment",
    "load_winner",
    "open_run",
    "run_experiment",
    "search_experiment",
    "verify_run",
]
