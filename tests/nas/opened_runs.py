"""What tests of stages and of the files of a run do with a copy of a finished run: open it, and take it back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hardware_profiles import Target
from nas.config import parse
from nas.devices.base import DeviceFinder, Session, Times, Wanted
from nas.devices.local import InProcess, InProcessSession, local_device
from nas.devices.measurement import ExitTime, Measurement
from nas.devices.runners import runner_for
from nas.nn.weights import extract
from nas.process.events import Voice
from nas.process.files import append_jsonl, read_jsonl
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.layout import EXPERIMENT
from nas.run.opening import materials, open_context
from nas.run.winners import Winner, files_of, write_weights
from nas.stages import train

HERE = Target("host", "onnxruntime")
#: What networks with random weights take: of target, space, genomes and purpose.
TimeNetworks = Callable[..., tuple[Measurement, ...]]


@contextmanager
def opened(run: Path, devices: DeviceFinder = local_device) -> Iterator[Context]:
    """A run's context, as a stage is given it."""
    experiment = parse.load(run / EXPERIMENT)
    found = materials(experiment, begun=True)
    with RunFolder.open(run, resume=True) as folder:
        yield open_context(experiment, found, folder, Voice(), devices)


def rewind(run: Path, to: str) -> None:
    """Take away what the stages behind `to` have written."""
    gone = ["unmet.json", "verify.json", "test.json", "report.html", "lengths.json"]
    if to in ("calibrate", "supernet"):
        gone += ["trials.jsonl", "front.json"]
    if to == "calibrate":
        gone += ["supernet.safetensors"]
    for name in gone:
        (run / name).unlink()
    shutil.rmtree(run / "winners")
    rows = [row for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] == "calibration"]
    (run / "measurements.jsonl").unlink()
    append_jsonl(run / "measurements.jsonl", rows)


def told(time_networks: TimeNetworks) -> Callable[..., dict[str, Times]]:
    """Stands in for `InProcessSession.time`: untrained networks are timed so, and all else as ever."""
    measured = InProcessSession.time

    def time(session: Any, wanted: Sequence[Wanted], *rest: Any, **named: Any) -> dict[str, Times]:
        purpose = wanted[0].purpose
        if purpose not in ("calibration", "candidate"):
            return measured(session, wanted, *rest, **named)
        genomes = [each.genome for each in wanted]
        rows = time_networks(session.runner.target, session.artefacts.untrained.space, genomes, purpose)
        return {
            each.name: Times(row.exits, row.stream, row.reference_s) for each, row in zip(wanted, rows, strict=True)
        }

    return time


def timing_by(time_networks: TimeNetworks) -> DeviceFinder:
    """Finds a device of this process that times untrained networks so."""

    class ToldSession(InProcessSession):
        time = told(time_networks)

    class Told(InProcess):
        @contextmanager
        def open(self, artefacts: Any) -> Iterator[Session]:
            yield ToldSession(runner_for(self.target), artefacts)

    return lambda target, profile, plugins: Told(target)


def taking(seconds: float, **how: Any) -> TimeNetworks:
    """Times every network at so many seconds to each exit, and `how` that was read."""

    def time_networks(target: Target, space: Any, genomes: Sequence[Any], purpose: Any) -> tuple[Measurement, ...]:
        return tuple(
            Measurement(
                purpose=purpose,
                target=target.key,
                genome=tuple(int(gene) for gene in genome),
                key=space.decode(genome).key,
                exits=tuple(ExitTime(seconds, seconds, **how) for _ in space.decode(genome).exits),
            )
            for genome in genomes
        )

    return time_networks


def borrowing(context: Context, readings: Path) -> Context:
    """The same run, whose experiment names readings to calibrate with."""
    settings = replace(context.experiment.calibration, measurements=str(readings))
    return replace(context, experiment=replace(context.experiment, calibration=settings))


def untrained(context: Context, winner: Winner) -> None:
    """In place of training: takes the shared weights as they are."""
    network = context.space.decode(winner.genome)
    write_weights(files_of(context, winner), winner, extract(network, train._with_statistics(network, context)))
