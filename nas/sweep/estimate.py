"""What a sweep will take, and whether each of its cells can be carried out: asked of every distinct one, once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nas.config import dump
from nas.config.settings import Experiment
from nas.devices.finding import runs_here
from nas.errors import InputError
from nas.outlook.effort import SHARED_WEIGHTS, Effort, effort_of
from nas.outlook.rehearsal import Rehearsed, rehearsed
from nas.run.components import profile_before
from nas.sweep.in_process import USERS
from nas.sweep.sharing import Planned


@dataclass(frozen=True)
class Outlook:
    """What can be known of a sweep before it begins: of each cell its effort, and one of each kind as rehearsed.

    A cell that takes its weights from another one has nothing of their training in its effort.
    """

    efforts: tuple[Effort, ...]
    kinds: tuple[tuple[Planned, Rehearsed], ...]

    def seconds(self, flops_per_s: float) -> float:
        """What all cells take one after the other at a rate of training."""
        return sum(effort.seconds(flops_per_s) for effort in self.efforts)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What is in no effort."""
        return tuple(dict.fromkeys(what for effort in self.efforts for what in effort.left_out))


def outlook(sweep: Path, cells: Sequence[Planned]) -> Outlook:
    """Rehearse the cells; raises InputError naming the first that cannot be carried out, and its values."""
    known: dict[str, tuple[Planned, Rehearsed, Effort]] = {}
    efforts, trained = [], set[int]()
    for each in cells:
        kind = _kind(each.cell.experiment)
        if kind not in known:
            try:
                found = rehearsed(each.cell.experiment)
            except USERS as error:
                raise InputError(f"{sweep}: {each.cell.said}: {error}") from error
            known[kind] = each, found, effort_of(found)
        effort = known[kind][2]
        efforts.append(_without_training(effort) if each.group in trained else effort)
        if each.group is not None:
            trained.add(each.group)
    return Outlook(tuple(efforts), tuple((each, found) for each, found, _ in known.values()))


def require_cores(sweep: Path, cells: Sequence[Planned], cores: int, remedy: str) -> None:
    """Raise InputError for a cell that measures where it runs with more threads than a worker has cores there."""
    for each in cells:
        for target in each.cell.experiment.targets:
            profile = profile_before(target)
            if target.threads > cores and profile.kind == "cpu" and runs_here(target, profile):
                raise InputError(
                    f"{sweep}: {each.cell.said}: target.threads is {target.threads}, and each worker has {cores} "
                    f"core{'s' * (cores != 1)}; {remedy}"
                )


def _kind(experiment: Experiment) -> str:
    """What a rehearsal and an effort depend on, as a text: not on the seed, nor on rates that were judged when read."""
    supernet, winners = type(experiment.supernet)(), type(experiment.winners)()
    alike = replace(
        experiment,
        name="alike",
        seed=0,
        supernet=replace(
            experiment.supernet,
            learning_rate=supernet.learning_rate,
            weight_decay=supernet.weight_decay,
            label_smoothing=supernet.label_smoothing,
        ),
        winners=replace(experiment.winners, learning_rate=winners.learning_rate, weight_decay=winners.weight_decay),
    )
    return json.dumps(dump.plain(alike), sort_keys=True, default=str)


def _without_training(effort: Effort) -> Effort:
    return replace(effort, trainings=tuple(each for each in effort.trainings if each.what != SHARED_WEIGHTS))
