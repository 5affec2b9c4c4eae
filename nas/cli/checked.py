"""What `nas check` prints of what can be carried out: what it was found to mean, and about its cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.table import Table
from rich.text import Text

from nas.config.parse import shown
from nas.config.units import format_seconds
from nas.devices.finding import board_of
from nas.outlook.effort import Effort, effort_of
from nas.outlook.latencies import Believed, spans_of
from nas.outlook.rate import training_rate
from nas.process.facts import cores_used
from nas.search.executors.base import HasWorkers
from nas.search.problem import too_few
from nas.tasks.image_classification.prepared import Labelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from hardware_profiles import Target
    from nas.outlook.latencies import Span
    from nas.outlook.rehearsal import Rehearsed
    from nas.sweep.estimate import Outlook
    from nas.sweep.scheduler import Scheduler
    from nas.sweep.sharing import Planned

#: Classes that are shown one by one.
_MOST_CLASSES: Final = 40
#: Cells of a sweep that are shown.
_MOST_CELLS: Final = 50
#: Parts of the data beside the test images.
_LABELLED: Final[tuple[Labelled, ...]] = ("train", "val", "arch", "cert")


def show(console: Console, found: Rehearsed) -> None:
    """Print what an experiment means: images, space, latencies, budgets, time and memory."""
    data = found.materials.data
    console.print(_images(found))
    notes = [*data.raw.notes]
    if data.splits.left_out:
        notes.append(f"{data.splits.left_out} training images stand in the test part too and are left out")
    for note in notes:
        console.print(Text(f"{data.raw.name}: {note}", "yellow"))
    console.print(Text(_space(found)))
    spans = spans_of(found)
    console.print(_latencies(found, spans))
    console.print(_budgets(found, spans))
    for doubt in too_few(found.problem):
        console.print(Text(doubt, "yellow"))
    workers = _executor(found)
    console.print(_costs(effort_of(found), workers))
    if workers is not None and workers.remark:
        console.print(Text(workers.remark, "yellow"))


def show_sweep(console: Console, cells: Sequence[Planned], found: Outlook, planned: int | None = None) -> None:
    """Print what a sweep means: its cells, the weights that they share, and about what all of it takes.

    Where there will be so many `planned`, these are examples of them.
    """
    times = 1.0 if planned is None else planned / len(cells)
    table = _table("cell", "weights", *cells[0].cell.values)
    for each in cells[:_MOST_CELLS]:
        beside = f", {' and '.join(each.kept_aside)} kept aside" if each.kept_aside else ""
        weights = "its own, or none" if each.group is None else f"{each.group}{beside}"
        table.add_row(Text(each.name), Text(weights), *(Text(shown(value)) for value in each.cell.values.values()))
    console.print(table)
    if len(cells) > _MOST_CELLS:
        console.print(f"and {len(cells) - _MOST_CELLS} more cells")
    groups = {each.group for each in cells if each.group is not None}
    if planned is None:
        console.print(f"{len(cells)} cells, {len(groups)} trainings of shared weights")
    rate, effort = training_rate(), _table("cost of all cells", "about")
    spent: dict[str, float] = {}
    for one in found.efforts:
        for training in one.trainings:
            spent[training.what] = spent.get(training.what, 0.0) + times * training.seconds(rate.flops_per_s)
        spent["compiling"] = spent.get("compiling", 0.0) + times * one.compiling_s
        spent["measuring"] = spent.get("measuring", 0.0) + times * one.measuring_s
    for what, seconds in spent.items():
        effort.add_row(what, _duration(seconds))
    seconds, cores = times * found.seconds(rate.flops_per_s), len(cores_used())
    effort.add_row("all of it, one after the other", _duration(seconds))
    effort.add_row("processor-hours", f"{seconds * cores / 3600:,.2g}")
    effort.add_row("memory of a cell", f"{max(one.memory_bytes for one in found.efforts) / 2**30:,.1f} GiB")
    beside = f"; not in it: {', '.join(found.left_out)}" if found.left_out else ""
    effort.caption = f"An estimate for {cores} cores, from {rate.basis}{beside}."
    effort.caption_justify = "left"
    console.print(effort)


def stops(scheduler: Scheduler, cells: Sequence[Planned]) -> str:
    """After which epochs cells are compared, in words, and what that does to their cost."""
    said = []
    for epochs in sorted({each.cell.experiment.supernet.epochs for each in cells}):
        rungs = scheduler.rungs(epochs)
        said.append(f"{', '.join(map(str, rungs)) or 'none'} of {epochs}")
    return (
        f"scheduler {scheduler.name}: cells are compared after epochs {'; '.join(said)}; about one in "
        f"{scheduler.reduction_factor} goes on each time, so that time and processor-hours are at most those above"
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _images(found: Rehearsed) -> Table:
    """Images by class and part; of many classes the fewest and the most."""
    data = found.materials.data
    names = data.raw.class_names
    labels = [*(data.labels(part) for part in _LABELLED), data.test_labels()]
    counts = np.stack([np.bincount(each, minlength=len(names)) for each in labels], axis=1)
    table = _table("images", *_LABELLED, "test")
    if len(names) <= _MOST_CLASSES:
        for name, row in zip(names, counts, strict=True):
            table.add_row(Text(name), *map(_count, row))
    else:
        for what, row in (("fewest of a class", counts.min(axis=0)), ("most of a class", counts.max(axis=0))):
            table.add_row(what, *map(_count, row))
    table.add_row(Text(f"{len(names)} classes", "bold"), *map(_count, counts.sum(axis=0)))
    return table


def _count(images: int) -> str:
    return f"{images:,}"


def _space(found: Rehearsed) -> str:
    space, spec, largest = found.context.space, found.context.experiment.space, found.largest
    written = spec.arguments.get("table")
    table = f" (table: {written})" if written and spec.arguments.get("stages") is None else ""
    shape = " x ".join(map(str, space.input_shape))
    digits = sum(math.log10(len(gene.options)) for gene in space.genes)
    return (
        f"space {space.name}{table}: images of {shape}, {len(space.genes)} genes, about 10^{digits:.0f} networks; "
        f"the largest has {largest.params:,} weights, {largest.macs / 1e6:,.1f} million MACs and "
        f"{len(largest.exits)} exits"
    )


def _latencies(found: Rehearsed, spans: dict[Target, Span]) -> Table:
    table = _table("target", "fastest network", "slowest network", "predicted from", "error")
    for target, span in spans.items():
        belief = found.beliefs[target]
        error = belief.model.error
        known = f"{error.relative:.0%} ({error.networks:,} networks)" if error.networks else "never measured"
        table.add_row(Text(target.key), _time(span.fastest), _time(span.slowest), Text(belief.basis), known)
    return table


def _time(believed: Believed) -> str:
    low, high = format_seconds(believed.low_s), format_seconds(believed.high_s)
    return f"{format_seconds(believed.seconds)} ({low} to {high})"


def _budgets(found: Rehearsed, spans: dict[Target, Span]) -> Table:
    experiment = found.context.experiment
    table = _table("budget", "at most", "target", "will be", "the fastest network takes")
    for budget in experiment.budgets:
        target = experiment.target_of(budget)
        board = board_of(target, found.context.profiles[target.device])
        how = "measured here" if board is None else f"measured on board {board[0]}"
        if (lost := found.context.why_lost(target)) is not None:
            how = f"predicted only: its device {lost}"
        elif not found.beliefs[target].here:
            how = "predicted only: its device is not this machine"
        share = spans[target].fastest.seconds / budget.latency_s
        table.add_row(
            Text(budget.name), f"{format_seconds(budget.latency_s)} {budget.how}", Text(target.key), Text(how),
            f"{100 * share:.2g} % of it",
        )  # fmt: skip
    return table


def _executor(found: Rehearsed) -> HasWorkers | None:
    """What judges networks in other processes, if that is known of it."""
    spec = found.context.experiment.search.executor
    made = spec.load()(**spec.arguments)
    return made if isinstance(made, HasWorkers) and made.elsewhere else None


def _costs(effort: Effort, workers: HasWorkers | None) -> Table:
    rate = training_rate()
    table = _table("cost", "about")
    for training in effort.trainings:
        table.add_row(training.what, _duration(training.seconds(rate.flops_per_s)))
    table.add_row("compiling", _duration(effort.compiling_s))
    table.add_row("measuring", _duration(effort.measuring_s))
    table.add_row("all of it", _duration(effort.seconds(rate.flops_per_s)))
    table.add_row("memory", f"{effort.memory_bytes / 2**30:,.1f} GiB")
    if workers is not None:
        table.add_row(
            f"beside it, memory of {workers.workers} workers",
            f"{workers.workers * effort.memory_bytes / 2**30:,.1f} GiB",
        )
    beside = f"; not in it: {', '.join(effort.left_out)}" if effort.left_out else ""
    table.caption = f"An estimate, from {rate.basis}{beside}."
    table.caption_justify = "left"
    return table


def _duration(seconds: float) -> str:
    for size, unit in ((86400 * 365, "years"), (86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{max(seconds, 1):.0f} s"
