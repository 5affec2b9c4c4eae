"""Calibration by a machine that is not the same all the while: what is measured again, left out, and said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import Target
from nas.config import parse
from nas.devices.base import DeviceFinder
from nas.devices.local import local_device
from nas.devices.measurement import ExitTime, Measurement
from nas.process.events import Voice
from nas.process.files import append_jsonl, read_jsonl
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.latency import load_model
from nas.run.opening import materials, open_context
from nas.stages import calibrate
from tests.nas.opened_runs import HERE, borrowing, timing_by
from tests.nas.small_runs import small

NETWORKS = 5
MEASUREMENTS = Path("run/measurements.jsonl")


@contextmanager
def opened(devices: DeviceFinder = local_device) -> Iterator[tuple[Context, list[str]]]:
    """The context of a run that begins or goes on, and what it prints."""
    experiment = parse.experiment(small(calibration={"networks": NETWORKS}))
    said: list[str] = []
    voice = Voice(lambda event: said.append(event.text) if event.kind in ("note", "warning") else None)
    with RunFolder.open("run", resume=Path("run").is_dir()) as folder:
        context = open_context(experiment, materials(experiment), folder, voice, devices)
        # What this machine is warned of is another matter.
        said.clear()
        yield context, said


class Machine:
    """Times networks; `shared[i]` are the readings, counted from 0, of its i-th network with the core shared."""

    def __init__(self, shared: dict[int, set[int]]) -> None:
        self.shared, self.asked = shared, list[list[int]]()
        self.read: dict[str, int] = {}

    def __call__(self, target: Target, space: Any, genomes: Sequence[Any], purpose: Any) -> Any:
        rows = []
        for genome in genomes:
            network = space.decode(genome)
            tries = self.read[network.key] = self.read.get(network.key, -1) + 1
            number = list(self.read).index(network.key)
            shared = tries in self.shared.get(number, set())
            level = 1e-5 * (network.macs / 1e4 + 2) * (2 if shared else 1)
            exits = [
                ExitTime(level * (1 + k), level * (1 + k), disturbed=0.9 * shared) for k in range(len(network.exits))
            ]
            genes = tuple(int(gene) for gene in genome)
            rows.append(
                Measurement(
                    purpose=purpose,
                    target=target.key,
                    genome=genes,
                    key=network.key,
                    exits=tuple(exits),
                    reference_s=1e-4,
                )
            )
        self.asked.append([list(self.read).index(row.key) for row in rows])
        return tuple(rows)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to run in."""
    monkeypatch.chdir(tmp_path)


def calibrated(shared: dict[int, set[int]]) -> tuple[list[list[int]], int, str]:
    """What was measured, in how many networks the model is fitted, and what was said."""
    machine = Machine(shared)
    with opened(timing_by(machine)) as (context, said):
        calibrate.calibrate(context)
        return machine.asked, load_model(context, HERE).calibration.networks, "".join(f"{text}\n" for text in said)


def test_a_network_read_unstably_is_measured_again_once() -> None:
    asked, networks, said = calibrated({1: {0}, 3: {0}})
    assert asked == [[0, 1, 2, 3, 4], [1, 3]]
    assert networks == NETWORKS and said == ""
    first = read_jsonl(MEASUREMENTS)[1]
    with opened() as (context, _):
        rows = load_model(context, HERE).calibration.rows
    assert first["exits"][-1]["median_s"] not in rows.seconds, "the disturbed reading was fitted"


def test_one_that_stays_unstable_is_left_out_and_that_is_said() -> None:
    asked, networks, said = calibrated({1: {0, 1}})
    assert asked == [[0, 1, 2, 3, 4], [1]]
    assert networks == NETWORKS - 1
    assert said.count("\n") == 1
    assert f"while 1 of {NETWORKS} networks were measured" in said and "these are left out" in said


def test_where_too_few_are_stable_all_are_used() -> None:
    asked, networks, said = calibrated({number: {0, 1} for number in (0, 1, 2)})
    assert asked == [[0, 1, 2, 3, 4], [0, 1, 2]]
    assert networks == NETWORKS
    assert f"while 3 of {NETWORKS} networks" in said and "too few others remain, and predictions will be poor" in said


def _unloaded(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the load of the machine, which is whatever it is by then."""
    return [{**row, "conditions": {**row["conditions"], "load": None}} for row in rows]


@pytest.mark.parametrize("kept", range(1, NETWORKS + 2))
def test_a_run_that_was_killed_goes_on_to_the_same_readings(kept: int) -> None:
    """Networks 1 and 3 are measured twice, each time with the core shared; nothing is measured a third time."""
    machine = Machine({1: {0, 1}, 3: {0, 1}})
    with opened(timing_by(machine)) as (context, _):
        calibrate.calibrate(context)
        before = read_jsonl(MEASUREMENTS)
        model = load_model(context, HERE)
    assert len(before) == NETWORKS + 2
    MEASUREMENTS.unlink()
    Path("run/latency_model.npz").unlink()
    append_jsonl(MEASUREMENTS, before[:kept])
    machine.asked.clear()
    machine.read = {row["key"]: -1 for row in before[:NETWORKS]}
    for row in before[:kept]:
        machine.read[row["key"]] += 1
    with opened(timing_by(machine)) as (context, _):
        calibrate.calibrate(context)
        assert _unloaded(read_jsonl(MEASUREMENTS)) == _unloaded(before)
        again = load_model(context, HERE)
    assert again.calibration.networks == model.calibration.networks == NETWORKS - 2


@pytest.mark.parametrize("kept", range(NETWORKS + 2))
def test_borrowed_readings_are_the_same_however_often_a_network_was_read(
    kept: int,
) -> None:
    calibrated({1: {0}, 3: {0, 1}})
    rows = read_jsonl(MEASUREMENTS)
    append_jsonl(Path("readings.jsonl"), rows)
    MEASUREMENTS.unlink()
    Path("run/latency_model.npz").unlink()
    append_jsonl(MEASUREMENTS, rows[:kept])
    with opened() as (context, said):
        calibrate.calibrate(borrowing(context, Path("readings.jsonl")))
        assert read_jsonl(MEASUREMENTS) == rows
        assert load_model(context, HERE).calibration.networks == NETWORKS - 1
        assert any("these are left out" in text for text in said)
