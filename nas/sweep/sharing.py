"""Which cells train the same shared weights: they are trained once, on images that none of these cells judges by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nas.config.settings import Experiment
from nas.optimisers.base import in_turns
from nas.run.components import making
from nas.run.progress import progress_of
from nas.run.reuse import weights_depend_on
from nas.sweep.cells import Cell
from nas.sweep.layout import SweepFiles
from nas.tasks.image_classification.fractions import OptionalPart


@dataclass(frozen=True)
class Planned:
    """A cell as it is run, and the number of the shared weights that it begins with, from 1 on.

    `group` is None where nothing is shared: nothing is trained, or weights of another run are taken. `kept_aside` are
    parts of the images that this cell keeps from training because others with its weights read them.
    """

    cell: Cell
    group: int | None = None
    kept_aside: tuple[OptionalPart, ...] = ()

    @property
    def name(self) -> str:
        """The name of the cell."""
        return self.cell.name


def planned(cells: Sequence[Cell]) -> tuple[Planned, ...]:
    """The cells in their order, with the groups that share weights, whose images are cut for all of a group.

    Cells share where all that the stage reads is the same, as `nas.run.reuse` compares it. A cell whose architecture is
    searched in turns with the training shares with none: its weights hang on its budgets, and on what is measured.
    Raises InputError for an optimiser that cannot be made.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if trains(cell.experiment):
            groups.setdefault(_weights_of(cell), []).append(cell)
    found = {}
    for number, members in enumerate(groups.values(), start=1):
        aside = {part for cell in members for part in cell.experiment.parts_aside}
        for cell in members:
            found[cell.name] = _cut_for(cell, number, aside)
    return tuple(found.get(cell.name, Planned(cell)) for cell in cells)


def joined(cell: Cell, before: Sequence[Planned]) -> Planned:
    """A cell that comes to others, which may run or be complete: it shares their weights where all is the same.

    That is the parts of the images too: what the others were trained on is settled.
    """
    if not trains(cell.experiment):
        return Planned(cell)
    own = _weights_of(cell), cell.experiment.parts_aside
    same = (each.group for each in before if (_weights_of(each.cell), each.cell.experiment.parts_aside) == own)
    last = max((each.group for each in before if each.group is not None), default=0)
    return Planned(cell, next((group for group in same if group is not None), last + 1))


def _weights_of(cell: Cell) -> str:
    """What the shared weights of a cell depend on, as a text to be compared."""
    return (f"{cell.name}: " if _in_turns(cell) else "") + weights_depend_on(cell.experiment)


def trains(experiment: Experiment) -> bool:
    """Whether an experiment trains shared weights of its own."""
    return experiment.search.needs_weights and experiment.supernet.reuse is None


def _in_turns(cell: Cell) -> bool:
    """Whether the architecture of a cell is searched while its shared weights are trained."""
    spec = cell.experiment.search.optimiser
    if spec is None:
        return False
    with making(f"{cell.said}: search.optimiser", spec.name):
        optimiser = spec.load()(**spec.arguments)
    return in_turns(optimiser)


def reusing(experiment: Experiment, folder: str) -> Experiment:
    """The same experiment with the shared weights of another run."""
    return replace(experiment, supernet=replace(experiment.supernet, reuse=folder))


def _cut_for(cell: Cell, group: int, aside: Iterable[OptionalPart]) -> Planned:
    splits = cell.experiment.splits
    shares = {"arch": splits.arch, "cert": splits.cert}
    # A part that has no images is kept from nobody.
    more = tuple(sorted(part for part in aside if part not in cell.experiment.parts_aside and shares[part] != 0))
    if not more:
        return Planned(cell, group)
    splits = replace(splits, reserve=(*splits.reserve, *more))
    return Planned(replace(cell, experiment=replace(cell.experiment, splits=splits)), group, more)


def stopped_trainer(files: SweepFiles, members: Iterable[str]) -> str | None:
    """The first of cells that share weights that was stopped while it trained them; None where they are there."""
    found = {name: progress_of(files.cell(name)) for name in members}
    if any(progress.trained for progress in found.values()):
        return None
    return next((name for name, progress in found.items() if progress.stopped is not None), None)
