"""The cells of a sweep: for each combination of its axes an experiment of its own, with a name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.config import parse, plain_yaml
from nas.config.parse import shown
from nas.config.plugins import NO_PLUGINS, Plugins
from nas.config.settings import Experiment
from nas.errors import InputError
from nas.sweep import axes
from nas.sweep.axes import Listed, Values
from nas.sweep.naming import cell_name, labels
from nas.sweep.sweep_file import Sweep


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: its name, which is that of its folder, its values by axis, and what is run."""

    name: str
    values: Values
    experiment: Experiment

    @property
    def said(self) -> str:
        """The cell and its values, for messages."""
        return f"cell {self.name} ({said(self.values)})"


def said(values: Values) -> str:
    """The values of a cell, for messages."""
    return ", ".join(f"{key}: {shown(value)}" for key, value in values.items())


def cells_of(sweep: Sweep, plugins: Plugins = NO_PLUGINS) -> tuple[Cell, ...]:
    """Every cell, in the order of the grid or of the draws.

    Raises InputError for two cells of one folder, and for a cell that is no experiment: with the axis and the value
    that are wrong, or with the experiment's file where that is.
    """
    try:
        chosen = axes.grid(sweep.axes) if sweep.samples is None else axes.draws(sweep.axes, sweep.samples, sweep.seed)
        every = list(chosen)
    except InputError as error:
        raise InputError(f"{sweep.path}: {error}") from error
    names = dict[str, Values]()
    for values in every:
        name = name_of(sweep, values)
        if name in names:
            raise InputError(
                f"{sweep.path}: two cells have the same folder {name!r}: {said(names[name])}; and {said(values)}; "
                "leave one of them out, or write their values so that they differ in letters or digits"
            )
        names[name] = values
    return tuple(cell_of(sweep, name, values, plugins) for name, values in names.items())


def name_of(sweep: Sweep, values: Values) -> str:
    """What the cell of some values is called."""
    called = labels(_telling(sweep))
    return cell_name({key: values[key] for key in called}, called)


def _telling(sweep: Sweep) -> list[str]:
    """The axes that cells are called by: those with more than one value, or all where none has."""
    several = [key for key, axis in sweep.axes.items() if not isinstance(axis, Listed) or len(axis.values) > 1]
    return several or list(sweep.axes)


def cell_of(sweep: Sweep, name: str, values: Values, plugins: Plugins = NO_PLUGINS) -> Cell:
    """The cell of some values; raises InputError as `cells_of` does."""
    try:
        return Cell(name, values, _experiment(sweep, values, name, plugins))
    except ValueError as error:
        raise _blamed(sweep, name, values, str(error), plugins) from error


def _experiment(sweep: Sweep, values: Values, name: str, plugins: Plugins) -> Experiment:
    return parse.experiment({**_changed(sweep.base, values), "name": name}, plugins)


def _changed(base: Mapping[str, Any], values: Values) -> dict[str, Any]:
    data = copy.deepcopy(dict(base))
    for key, value in values.items():
        plain_yaml.replace(data, key, copy.deepcopy(value), f"axes.{key}")
    return data


def _blamed(sweep: Sweep, name: str, values: Values, message: str, plugins: Plugins) -> InputError:
    """The error of a cell, with whose it is: the experiment's, one axis's, or that of several together."""

    def same(part: Values) -> bool:
        try:
            _experiment(sweep, part, name, plugins)
        except ValueError as error:
            return str(error) == message
        return False

    if same({}):
        return InputError(f"{sweep.experiment}: {message}")
    alone = next(({key: value} for key, value in values.items() if same({key: value})), values)
    return InputError(f"{sweep.path}: cell {name} ({said(alone)}): {message}")
