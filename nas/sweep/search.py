"""Recipe search: which cell of a sweep comes next, by what those before it found, as Optuna says.

The study is a journal in the sweep's folder. A cell is a trial that is running until the cell is complete: who is
killed goes on with the same ones. Only the process that carries out the sweep writes in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from nas.config.plugins import NO_PLUGINS, Plugins
from nas.errors import InputError
from nas.run.progress import Progress, progress_of
from nas.searchers.optuna import library
from nas.seeds import derive_seed
from nas.sweep import axes, folder
from nas.sweep.axes import Axis, Drawn, Values
from nas.sweep.cells import Cell, cell_of, cells_of, name_of
from nas.sweep.journal import ANEW, Journal
from nas.sweep.layout import SweepFiles
from nas.sweep.naming import short
from nas.sweep.objective import Search, found_in, of_budget
from nas.sweep.rungs import reports
from nas.sweep.running import has_begun
from nas.sweep.sharing import Planned, joined, stopped_trainer
from nas.sweep.sweep_file import Sweep

if TYPE_CHECKING:
    import optuna

#: What a study's trials and constraints are called.
_CELL: Final = "cell"
_BUDGET: Final = "budget"
_NEEDED_BY: Final = "sweeps with search_by: optuna_tpe"
#: Cells that stand for those that will be chosen, where it is asked beforehand what can be carried out.
_EXAMPLES: Final = 4
#: So often a trial may be one that there was, before cells are drawn without a model of what they give.
_REPEATED: Final = 10
#: The first trials are drawn at random.
_STARTUP: Final = 10


def prepared(sweep: Sweep, plugins: Plugins = NO_PLUGINS) -> tuple[Sweep, tuple[Cell, ...]]:
    """A sweep that is searched, with the budget that it is about, and some cells that it might have.

    Raises InputError where Optuna is missing, for a budget that the experiment has not, for more samples than there are
    combinations, and as `cells_of` does.
    """
    if sweep.search is None:
        raise AssertionError("the cells of this sweep are not searched for")
    library(_NEEDED_BY)
    examples = cells_of(sweep, plugins)[:_EXAMPLES]
    names = [budget.name for budget in examples[0].experiment.budgets]
    try:
        return replace(sweep, search=of_budget(sweep.search, names)), examples
    except InputError as error:
        raise InputError(f"{sweep.path}: {error}") from error


class RecipeSearch:
    """Satisfies `running.Supply`: cells by trials of a study, of which `cells` are there by now.

    Raises InputError where the folder was begun with another sweep.
    """

    def __init__(self, files: SweepFiles, sweep: Sweep, plugins: Plugins = NO_PLUGINS) -> None:
        self._files, self._sweep, self._plugins = files, sweep, plugins
        self._search = _searched(sweep)
        self._optuna = library(_NEEDED_BY)
        self._distributions = {key: self._distribution(axis) for key, axis in sweep.axes.items()}
        known = folder.begin_search(files, sweep.name, list(sweep.axes), _record(sweep), sweep.scheduler)
        self.cells: tuple[Planned, ...] = ()
        self._trials: dict[str, int] = {}
        for row in known.cells:
            self._add(cell_of(sweep, row.name, row.values, plugins), -1 if row.trial is None else row.trial)
        storage = self._optuna.storages.JournalStorage(Journal(files.study))
        self._study: optuna.Study = (
            self._optuna.load_study(storage=storage, study_name=sweep.name)
            if sweep.name in self._optuna.get_all_study_names(storage)
            else self._optuna.create_study(
                storage=storage, study_name=sweep.name, direction=self._search.figure.direction
            )
        )
        numbers = {trial.number for trial in self._study.get_trials(deepcopy=False)}
        if lost := [name for name, number in self._trials.items() if number >= 0 and number not in numbers]:
            raise InputError(f"{files.study} lacks the trial of the cell {lost[0]}; {ANEW}")
        for trial in self._running():
            if trial.number not in self._trials.values():
                self._take(trial)
        for name in tuple(self._trials):
            self.ended(name)

    @property
    def left(self) -> int:
        """How many cells are yet to be chosen."""
        return self._search.samples - len(self.cells)

    def next(self) -> Planned | None:
        """One more cell; None where there are as many as the sweep was to have."""
        before = len(self.cells)
        for attempt in range(_REPEATED):
            if self.left and len(self.cells) == before:
                self._take(self._asked(attempt))
        if self.left and len(self.cells) == before:
            self._study.enqueue_trial(self._parameters(self._unseen()))
            self._take(self._asked(_REPEATED))
        return self.cells[-1] if len(self.cells) > before else None

    def ended(self, name: str) -> None:
        """Tell what a cell gave, if it is complete or was stopped early, and that was not told yet."""
        trial = next((each for each in self._running() if each.number == self._trials[name]), None)
        if trial is None:
            return
        progress = progress_of(self._files.cell(name))
        trainer = self._stopped_trainer(name, progress)
        if trainer is None and not progress.over:
            return
        self._report(trial, trainer or name)
        if trainer is None:
            self._tell(trial, progress)
        else:
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.PRUNED)

    def _tell(self, trial: optuna.trial.FrozenTrial, progress: Progress) -> None:
        """Tell what a complete cell gave."""
        found = found_in(self._search, progress.verdicts)
        if found.value is None:
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
            return
        if _BUDGET not in trial.constraints:
            self._trial(trial).set_constraint(_BUDGET, found.violation)
        self._study.tell(trial.number, found.value)

    def _stopped_trainer(self, name: str, progress: Progress) -> str | None:
        """The cell that was stopped early: this one, or the one whose weights it waits for; None where neither was."""
        if has_begun(self._files, name):
            return None if progress.stopped is None else name
        group = next(cell.group for cell in self.cells if cell.name == name)
        return stopped_trainer(self._files, [cell.name for cell in self.cells if group and cell.group == group])

    def _report(self, trial: optuna.trial.FrozenTrial, trainer: str) -> None:
        """Tell what was reported of a cell while it trained, as far as that was not told yet."""
        for each in reports(self._files):
            if each.cell == trainer and each.epoch not in trial.intermediate_values:
                self._trial(trial).report(each.value, each.epoch)

    def _asked(self, attempt: int) -> optuna.trial.FrozenTrial:
        """A new trial, with a value for each axis."""
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = self._sampler(number, attempt)
        asked = self._study.ask(self._distributions)
        return self._study.get_trials(deepcopy=False)[asked.number]

    def _take(self, trial: optuna.trial.FrozenTrial) -> None:
        """Make a trial that is running a cell, unless it is one that there is."""
        self._study.sampler = self._sampler(trial.number, 0)
        whole = self._trial(trial)
        # Who was killed while it was asked may not have drawn all of it; what was drawn stays.
        values = {key: _drawn(whole, key, axis) for key, axis in self._sweep.axes.items()}
        name = name_of(self._sweep, values)
        if name in self._trials:
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
            return
        try:
            cell = cell_of(self._sweep, name, values, self._plugins)
        except InputError:
            # Whoever goes on with the sweep goes on with other values.
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
            raise
        self._add(cell, trial.number)
        folder.write_chosen(self._files, self.cells, self._trials)
        whole.set_user_attr(_CELL, name)

    def _add(self, cell: Cell, trial: int) -> None:
        self.cells = (*self.cells, joined(cell, self.cells))
        self._trials[cell.name] = trial

    def _running(self) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(self._optuna.trial.TrialState.RUNNING,))

    def _trial(self, trial: optuna.trial.FrozenTrial) -> optuna.trial.Trial:
        """A trial that can be told more of."""
        made: optuna.trial.Trial = self._optuna.trial.Trial(self._study, trial._trial_id)
        return made

    def _unseen(self) -> Values:
        """A combination that there is no cell of, drawn without a model."""
        combinations = axes.draws(self._sweep.axes, self._search.samples, derive_seed(self._sweep.seed, "unseen"))
        return next(values for values in combinations if name_of(self._sweep, values) not in self._trials)

    def _parameters(self, values: Values) -> dict[str, Any]:
        return {key: _parameter(self._sweep.axes[key], value) for key, value in values.items()}

    def _sampler(self, number: int, attempt: int) -> optuna.samplers.BaseSampler:
        """What draws a trial: a function of the sweep's seed, the trial, and all that was told before."""
        seed = derive_seed(self._sweep.seed, "recipes", number, attempt) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            made: optuna.samplers.BaseSampler = self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
            return made

    def _distribution(self, axis: Axis) -> optuna.distributions.BaseDistribution:
        known = self._optuna.distributions
        made: optuna.distributions.BaseDistribution
        if not isinstance(axis, Drawn):
            made = known.CategoricalDistribution(_choices(axis.values))
        elif axis.kind == "int":
            made = known.IntDistribution(int(axis.low), int(axis.high))
        else:
            made = known.FloatDistribution(axis.low, axis.high, log=axis.kind == "log")
        return made


def _searched(sweep: Sweep) -> Search:
    if sweep.search is None or sweep.search.budget is None:
        raise AssertionError("the sweep was not prepared")
    return sweep.search


def _record(sweep: Sweep) -> dict[str, Any]:
    """What a searched sweep depends on, as its folder notes it."""
    search = _searched(sweep)
    written = {key: asdict(axis) for key, axis in sweep.axes.items()}
    return {**asdict(search), "seed": sweep.seed, "axes": written, "base": sweep.base}


def _choices(values: Sequence[Any]) -> list[str]:
    """Values of a list as a study has them: short texts, all different."""
    texts = [short(value) for value in values]
    return texts if len({*texts}) == len(texts) else [f"{number}: {text}" for number, text in enumerate(texts)]


def _drawn(trial: optuna.trial.Trial, key: str, axis: Axis) -> Any:
    """What the cell of a trial has for an axis."""
    if not isinstance(axis, Drawn):
        choices = _choices(axis.values)
        return axis.values[choices.index(trial.suggest_categorical(key, choices))]
    if axis.kind == "int":
        return axis.at(trial.suggest_int(key, int(axis.low), int(axis.high)))
    return axis.at(trial.suggest_float(key, axis.low, axis.high, log=axis.kind == "log"))


def _parameter(axis: Axis, value: Any) -> Any:
    """What a trial has where a cell has a value."""
    if not isinstance(axis, Drawn):
        return _choices(axis.values)[axis.values.index(value)]
    return float(value.split()[0]) if isinstance(value, str) else value
