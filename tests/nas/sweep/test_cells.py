"""Sweep files: which cells they mean, what these are called, and what is refused, in one sentence."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from nas.config.settings import require_folder_name
from nas.config.units import parse_quantity
from nas.errors import InputError
from nas.sweep import sweep_file
from nas.sweep.cells import Cell, cells_of
from nas.sweep.naming import cell_name, labels
from tests.documents import ROOT, names_in, rows, sections, write_files
from tests.nas.small_runs import small, write
from tests.nas.sweep.small_sweeps import write_sweep


def cells(path: Path, *overrides: str) -> tuple[Cell, ...]:
    return cells_of(sweep_file.load(path, overrides))


def test_a_grid_has_every_combination_with_the_last_axis_fastest(tmp_path: Path) -> None:
    found = cells(write_sweep(tmp_path, {"budgets.0.latency": ["2 ms", "4 ms"], "seed": [0, 1, 2]}))
    assert [cell.name for cell in found] == [f"latency-{ms}ms_seed-{seed}" for ms in (2, 4) for seed in range(3)]
    assert [(cell.experiment.budgets[0].latency_s, cell.experiment.seed) for cell in found] == [
        (ms / 1e3, seed) for ms in (2, 4) for seed in range(3)
    ]
    assert [cell.experiment.name for cell in found] == [cell.name for cell in found]
    assert all(cell.experiment.budgets[1].latency_s == 0.2 for cell in found)


def test_an_axis_of_one_value_is_in_no_name(tmp_path: Path) -> None:
    found = cells(write_sweep(tmp_path, {"winners.epochs": [2], "seed": [0, 1]}))
    assert [cell.name for cell in found] == ["seed-0", "seed-1"]
    assert {cell.experiment.winners.epochs for cell in found} == {2}
    assert [cell.name for cell in cells(write_sweep(tmp_path, {"winners.epochs": [2]}))] == ["epochs-2"]


def test_the_experiment_lies_beside_the_sweep_and_takes_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sweep(tmp_path / "deep", {"seed": [0, 1]})
    monkeypatch.chdir(tmp_path)
    assert {cell.experiment.supernet.epochs for cell in cells(path, "supernet.epochs=7")} == {7}


RANGES = {
    "supernet.learning_rate": {"log": [0.02, 0.3]},
    "supernet.weight_decay": {"uniform": [0, 0.1]},
    "winners.epochs": {"int": [1, 3]},
    "budgets.0.latency": {"log": ["2 ms", "40 ms"]},
    "space": ["toy", small()["space"]],
}


def test_draws_lie_in_their_ranges_and_differ(tmp_path: Path) -> None:
    found = cells(write_sweep(tmp_path, RANGES, samples=40))
    assert len({cell.name for cell in found}) == 40
    rates = [cell.experiment.supernet.learning_rate for cell in found]
    assert all(0.02 <= rate <= 0.3 for rate in rates)
    # Half of them below the middle of the logarithms, and not of the numbers.
    assert 10 <= sum(rate < math.sqrt(0.02 * 0.3) for rate in rates) <= 30
    assert {cell.experiment.winners.epochs for cell in found} == {1, 2, 3}
    assert {cell.experiment.space.name for cell in found} == {"toy", "mobile"}
    assert all(0.002 <= cell.experiment.budgets[0].latency_s <= 0.04 for cell in found)
    assert all(parse_quantity(cell.values["budgets.0.latency"], "s") for cell in found)


def test_draws_are_the_same_each_time_and_go_on_where_more_are_asked_for(tmp_path: Path) -> None:
    few, again = (cells(write_sweep(tmp_path, RANGES, samples=5)) for _ in range(2))
    assert few == again == cells(write_sweep(tmp_path, RANGES, samples=9))[:5]
    assert few != cells(write_sweep(tmp_path, RANGES, samples=5, seed=1))


def test_a_finite_set_is_drawn_to_its_end(tmp_path: Path) -> None:
    axes = {"seed": {"int": [1, 3]}, "winners.epochs": [1, 2]}
    found = cells(write_sweep(tmp_path, axes, samples=6))
    assert {(cell.experiment.seed, cell.experiment.winners.epochs) for cell in found} == {
        (seed, epochs) for seed in (1, 2, 3) for epochs in (1, 2)
    }
    with pytest.raises(InputError, match="samples is 7, and of the values of the axes 6 different cells"):
        cells(write_sweep(tmp_path, axes, samples=7))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"supernet.lerning_rate": [0.1]}, r"has no key 'lerning_rate'; did you mean 'learning_rate'\?"),
        ({"sede": [1]}, r"has no key 'sede'; did you mean 'seed'\?"),
        ({"budgets.5.latency": ["1 ms"]}, "axes.budgets.5.latency: '5' is no place in a list of 2"),
        ({"name.x": ["a"]}, "axes.name.x: there is nothing that could hold 'x'"),
        ({"seed": 3}, r"axes.seed: expected a list such as \[0, 1\]"),
        ({"seed": []}, "axes.seed: the list is empty"),
        ({"seed": {"int": [0, 3]}}, "axes.seed: a range is drawn from, and a grid is not; give `samples`"),
        ({"seed": {"itn": [0, 3]}}, r"a range is one of log, uniform, int .* did you mean 'int'\?"),
        ({"space": {"name": "toy"}}, r"is written in a list: \[\{'name': 'toy'\}\]"),
        ({"name": ["a", "b"]}, "axes.name: cells are named by the values"),
        ({"supernet": [{}], "supernet.epochs": [1]}, "axes: supernet.epochs lies in supernet"),
        ({}, "axes: there is none"),
        ([], "axes: input should be a valid dictionary"),
        ({"seed": [1, "1"]}, "two cells have the same folder 'seed-1': seed: 1; and seed: '1'"),
        ({"budgets.0.latency": ["2 ms", "2ms"]}, "the same folder 'latency-2ms': .*'2 ms'; and .*'2ms'"),
        ({"supernet.learning_rate": [0.1, 12]}, r"cell learning_rate-12 \(supernet.learning_rate: 12\): supernet.lear"),
        ({"seed": [0, 1], "budgets.0.latency": [8]}, r"cell seed-0 \(budgets.0.latency: 8\): .* no unit"),
        (
            {"budgets.0.name": ["worst", "mean"]},
            r"cell name-mean \(budgets.0.name: 'mean'\): two budgets have the same name",
        ),
        (
            {"budgets.0.name": ["one"], "budgets.1.name": ["one"]},
            r"cell 0.name-one_1.name-one \(budgets.0.name: 'one', budgets.1.name: 'one'\): two budgets",
        ),
        ({"data.name": ["mnits"]}, "there is no data 'mnits'"),
        ({"space": ["evil:evil"]}, "which nobody allowed to run"),
        ({"seed": list(range(50)), "winners.epochs": list(range(50))}, "the grid has 2,500 cells, and 2,000 are"),
    ],
)
def test_what_no_sweep_can_be_is_refused(axes: Any, message: str, tmp_path: Path) -> None:
    path = write_sweep(tmp_path, axes)
    with pytest.raises(InputError, match=message) as error:
        cells(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("range_", "message"),
    [
        ({"log": [0, 1]}, "a logarithmic range begins above 0, got 0"),
        ({"log": [1, 0.1]}, "1 is not below 0.1"),
        ({"log": [0.1]}, "expected the two ends of a range"),
        ({"uniform": ["1 ms", "2 s"]}, "both ends need the same unit"),
        ({"uniform": ["a", "b"]}, "an end of the range is 'a'; it must be a number"),
        ({"int": [0.5, 2]}, "an end of the range is 0.5; it must be a whole number"),
        ({"int": [0, 10**40]}, "it must be finite"),
        ({"int": [0, 10**400]}, "is out of range: whole numbers have at most 100 digits"),
        ({"int": [0, 2**60]}, r"it must be finite, and 2\^53 is the most"),
        ({"log": [2, 2]}, "2 is not below 2"),
        ({"uniform": [0, float("inf")]}, "it must be finite"),
        ({"uniform": [0, 1], "log": [1, 2]}, "a range is one of log, uniform, int and its two ends"),
        ({}, "a range is one of log, uniform, int and its two ends"),
    ],
)
def test_what_no_range_can_be_is_refused(range_: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"axes.supernet.learning_rate.*{message}"):
        cells(write_sweep(tmp_path, {"supernet.learning_rate": range_}, samples=3))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"axis": 1}, r"a sweep has no key 'axis'; did you mean 'axes'\?"),
        ({"experiment": "nothing.yaml"}, "experiment: there is no file .*nothing.yaml'; the path is relative to the"),
        ({"experiment": "sweep.yaml"}, "is a sweep itself; give an experiment"),
        ({"name": "a/b"}, "the sweep's name 'a/b' becomes a folder"),
        ({"samples": 0}, "samples is 0; it must be from 1 to"),
        ({"samples": "many"}, "samples: input should be a valid integer"),
    ],
)
def test_keys_of_the_sweep_are_checked(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        cells(write_sweep(tmp_path, {"seed": [0, 1]}, **keys))


def test_what_is_wrong_in_the_experiment_is_said_of_its_file(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, {"seed": [0, 1]}, small(supernet={"epochs": 0}))
    with pytest.raises(InputError, match=r"base.yaml: supernet.epochs must be at least 1, got 0"):
        cells(path)


def test_an_override_of_an_axis_is_refused(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, {"seed": [0, 1], "supernet": [{"epochs": 2}]})
    for override in ("seed=3", "supernet.epochs=3"):
        with pytest.raises(InputError, match=r"the axis .* sets that key in every cell"):
            cells(path, override)


@pytest.mark.parametrize(
    ("keys", "called"),
    [
        (["supernet.epochs", "seed"], ["epochs", "seed"]),
        (["supernet.epochs", "winners.epochs"], ["supernet.epochs", "winners.epochs"]),
        (["budgets.0.latency", "budgets.1.latency"], ["0.latency", "1.latency"]),
        (["search.objectives.0"], ["objectives.0"]),
        (["epochs", "supernet.epochs"], ["epochs", "supernet.epochs"]),
    ],
)
def test_axes_are_called_by_what_tells_them_apart(keys: list[str], called: list[str]) -> None:
    assert list(labels(keys).values()) == called


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 0.1, 1e-20, 1e30, "2 ms", "", "a/b\\c d", "../../x", "é", "x" * 500, [1, "a"], [], {}, "\n",
     {"name": "mobile", "table": "8x8"}, {"stages": [{"widths": [8] * 100}]}, "\N{MICRO SIGN}s"],
    ids=repr,
)  # fmt: skip
def test_every_value_becomes_a_name_of_a_folder(value: Any) -> None:
    for called in ("seed", "ß", "-"):
        name = cell_name({"key": value, "other": value}, {"key": called, "other": "other"})
        require_folder_name("the cell", name)
        assert len(name.encode()) <= 160


def test_long_values_that_differ_have_different_names() -> None:
    names = {cell_name({"x": "/data/" + "a" * 300 + end}, {"x": "path"}) for end in "bc"}
    assert len(names) == 2


def test_sweeps_that_are_shown_are_sweeps(tmp_path: Path) -> None:
    write(tmp_path, small(target={"device": "host", "runner": "onnxruntime"}), "door_camera.yaml")
    write_files("sweep.md", tmp_path)
    assert len(cells(tmp_path / "my_sweep.yaml")) == 18 and len(cells(tmp_path / "my_draws.yaml")) == 24
    assert sweep_file.load(tmp_path / "my_search.yaml").search is not None
    assert len(cells(ROOT / "experiments" / "sweep.yaml")) == 4


def test_every_key_of_a_sweep_is_described() -> None:
    described = {name for row in rows(sections("sweep.md")["The file"]) for name in names_in(row[0])}
    assert described == {field.name for field in dataclasses.fields(sweep_file.SweepSettings)}
