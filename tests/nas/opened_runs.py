"""What tests of stages and of the files of a run do with a copy of a finished run: open it, and take it back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from hardware_profiles import Target
from nas.config import parse
from nas.devices.base import DeviceFinder
from nas.devices.local import InProcess, local_device
from nas.devices.measurement import ExitTime, Measurement
from nas.nn.weights import extract
from nas.process.files import append_jsonl, read_jsonl
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.layout import EXPERIMENT
from nas.run.opening import materials, open_context
from nas.run.winners import Winner, files_of, write_weights
from nas.stages import train

HERE = Target("host", "onnxruntime")
#: Stands in for `InProcess.time_networks`; the first argument is the device.
TimeNetworks = Callable[..., tuple[Measurement, ...]]


@contextmanager
def opened(run: Path, devices: DeviceFinder = local_device) -> Iterator[Context]:
    """A run's context, as a stage is given it."""
    experiment = parse.load(run / EXPERIMENT)
    found = materials(experiment, begun=True)
    with RunFolder.open(run, resume=True) as folder:
        yield open_context(experiment, found, folder, Console(quiet=True), devices)


def rewind(run: Path, to: str) -> None:
    """Take away what the stages behind `to` have written."""
    gone = ["unmet.json", "verify.json", "test.json", "report.html"]
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


def timing_by(time_networks: TimeNetworks) -> DeviceFinder:
    """Finds a device of this process that times networks so, and all else as ever."""

    class Told(InProcess):
        def time_networks(self, *arguments: Any, **named: Any) -> tuple[Measurement, ...]:
            return time_networks(self, *arguments, **named)

    return lambda target, profile: Told(target)


def taking(seconds: float, drifted: bool = False) -> TimeNetworks:
    """Times every network at so many seconds to each exit."""

    def time_networks(
        device: InProcess, space: Any, genomes: Sequence[Any], purpose: Any, *rest: Any
    ) -> tuple[Measurement, ...]:
        return tuple(
            Measurement(
                purpose=purpose,
                target=device.target.key,
                genome=tuple(int(gene) for gene in genome),
                key=space.decode(genome).key,
                exits=tuple(ExitTime(seconds, seconds, drifted=drifted) for _ in space.decode(genome).exits),
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
