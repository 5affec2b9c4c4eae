"""With which others is a cell compared where a scheduler may stop it, and can any cell of a sweep be stopped at all?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from nas.config.settings import Experiment
from nas.errors import InputError
from nas.searchers.optuna import library
from nas.sweep.axes import Axis, Drawn, Listed
from nas.sweep.scheduler import Scheduler
from nas.sweep.sharing import Planned, trains
from nas.sweep.sweep_file import Sweep

#: What is said to need Optuna where it is missing.
NEEDED_BY: Final = "sweeps with scheduler: asha"
_EPOCHS: Final = "supernet.epochs"
#: Cells that differ in one of these sections answer other questions, some of which are harder.
_SECTIONS: Final = ("data", "splits", "space", "target", "budgets")


def question(values: Mapping[str, Any], balanced: bool) -> dict[str, Any]:
    """What a cell has in common with those that it is compared with: its values of axes in certain sections.

    `balanced` says whether its networks are chosen by balanced accuracy, which is another figure.
    """
    asked = {key: value for key, value in values.items() if _asks(key)}
    return asked | ({"balanced": True} if balanced else {})


def require_stops(sweep: Sweep, cells: Sequence[Planned]) -> None:
    """Raise InputError where a sweep has a scheduler, and Optuna is missing or a cell has nothing to be stopped at.

    So it is where no two cells could ever be compared. Where cells are searched for, those given are examples.
    """
    if sweep.scheduler is None:
        return
    library(NEEDED_BY)
    try:
        for each in cells:
            _require_training(each)
        _require_rungs(sweep.scheduler, max(_epochs(sweep.axes, cells)))
        if _all_differ(sweep.axes) if sweep.search is not None else _none_alike(cells):
            raise InputError(
                "scheduler: cells are compared that train weights of their own and have the same "
                f"{', '.join(_SECTIONS[:-1])} and {_SECTIONS[-1]}, and no two are such; leave scheduler out"
            )
    except InputError as error:
        raise InputError(f"{sweep.path}: {error}") from error


def _require_training(each: Planned) -> None:
    experiment: Experiment = each.cell.experiment
    if trains(experiment):
        return
    reuse = experiment.supernet.reuse
    why = "by no shared weights" if reuse is None else f"by those of {reuse} (supernet.reuse)"
    raise InputError(
        f"scheduler: {each.cell.said} judges networks {why}: it has no epochs of a training to be stopped at; leave "
        "scheduler out, or that cell"
    )


def _require_rungs(scheduler: Scheduler, longest: int) -> None:
    if not scheduler.rungs(longest):
        raise InputError(
            f"scheduler.min_epochs is {scheduler.min_epochs}, and {_EPOCHS} is at most {longest}: no cell would be "
            f"compared with another before its end; give less than {longest}, or leave scheduler out"
        )


def _epochs(axes: Mapping[str, Axis], cells: Sequence[Planned]) -> Iterator[int]:
    """The epochs of cells, and the most that an axis has: cells that are given may be examples of others."""
    yield from (each.cell.experiment.supernet.epochs for each in cells)
    match axes.get(_EPOCHS):
        case Drawn(high=high):
            yield int(high)
        case Listed(values=values):
            yield from (value for value in values if isinstance(value, int))


def _none_alike(cells: Sequence[Planned]) -> bool:
    """Whether no two trainings are for the same question; that of a group is the first one's."""
    trainings = {each.group: each.cell for each in reversed(cells)}
    asked = (question(cell.values, cell.experiment.search.balanced) for cell in trainings.values())
    return max(Counter(json.dumps(each, sort_keys=True, default=str) for each in asked).values()) < 2


def _all_differ(axes: Mapping[str, Axis]) -> bool:
    """Whether each cell that is chosen has a question of its own: a number that hardly comes twice."""
    return any(isinstance(axis, Drawn) and axis.kind != "int" and _asks(key) for key, axis in axes.items())


def _asks(key: str) -> bool:
    return key.partition(".")[0] in _SECTIONS
