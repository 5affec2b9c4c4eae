"""Measured latencies of networks, exit by exit: taken with the artefact's own runtime, kept one JSON line each.

What is timed is what is deployed: ONNX segments in a host loop. The weights are random, because a latency does not
depend on their values and candidates are measured before they are trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from search_spaces.ir import Network
from search_spaces.slots import SearchSpace

from .data.seeds import derive_seed
from .errors import InputError
from .runners.readings import Readings

#: The device that is measured by running things here.
HOST: Final = "host"
SCHEMA: Final = 1
Purpose = Literal["calibration", "candidate", "winner"]


@dataclass(frozen=True)
class ExitTime:
    """Cumulative seconds until a sample has left at one exit: the median, its upper 95 % bound, and how it was read.

    For a stream of samples it is the mean instead. `wall_s` and `cpu_s` are what each block gave by either clock;
    `repeated` counts blocks that were thrown away because somebody else was using the core.
    """

    median_s: float
    upper_95_s: float
    contended: bool = False
    wall_s: tuple[float, ...] = ()
    cpu_s: tuple[float, ...] = ()
    repeated: int = 0

    @staticmethod
    def of(readings: Readings) -> ExitTime:
        """What is kept of readings."""
        centre = np.median if readings.statistic == "median" else np.mean
        return ExitTime(
            readings.value_s,
            readings.upper_95_s,
            readings.contended,
            tuple(centre(readings.wall_s, axis=1).tolist()),
            tuple(centre(readings.cpu_s, axis=1).tolist()),
            readings.repeated,
        )

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> ExitTime:
        """Read back what JSON made of it; an infinite bound became null."""
        bound = math.inf if record["upper_95_s"] is None else record["upper_95_s"]
        clocks = {name: tuple(record.get(name, ())) for name in ("wall_s", "cpu_s")}
        return ExitTime(record["median_s"], bound, record["contended"], **clocks, repeated=record.get("repeated", 0))


@dataclass(frozen=True)
class Measurement:
    """The seconds to every exit of one network on one target, and what had been predicted for them.

    `broken` names the budgets that this reading showed to be broken, `budget` the one that it was taken for; `stream`
    is the mean over test images with the exits' thresholds, where the budget is about that.
    """

    purpose: Purpose
    target: str
    genome: tuple[int, ...]
    key: str
    exits: tuple[ExitTime, ...]
    predicted_s: tuple[float, ...] | None = None
    predicted_std_s: tuple[float, ...] | None = None
    broken: tuple[str, ...] = ()
    budget: str = ""
    stream: ExitTime | None = None
    schema: int = field(default=SCHEMA)

    @property
    def reach_s(self) -> NDArray[np.float64]:
        """Median seconds to each exit [exits]."""
        return np.array([exit_.median_s for exit_ in self.exits])

    @property
    def worst_upper_s(self) -> float:
        """Upper bound of the worst case: the last exit's."""
        return self.exits[-1].upper_95_s

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values of one line."""
        return asdict(self)

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Measurement:
        """Read a line back; raises InputError for another schema."""
        if record.get("schema") != SCHEMA:
            raise InputError(f"a measurement of schema {record.get('schema')!r}; this version reads {SCHEMA}")
        values = dict(record)
        values["exits"] = tuple(ExitTime.from_dict(entry) for entry in record["exits"])
        values["stream"] = ExitTime.from_dict(record["stream"]) if record.get("stream") else None
        for name in ("genome", "predicted_s", "predicted_std_s", "broken"):
            values[name] = None if record.get(name) is None else tuple(record[name])
        values["broken"] = values["broken"] or ()
        return Measurement(**values)


def random_weights(network: Network, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights of ordinary size for a network that is timed but not used; positive variances, no denormal numbers."""
    weights = {}
    for key, weight in network.weight_shapes.items():
        rng = np.random.default_rng(derive_seed(seed, key))
        fan_in = max(1, weight.size // weight.shape[0])
        values = rng.standard_normal(weight.shape) / np.sqrt(fan_in)
        if weight.role in ("scale", "variance"):
            values = 1 + 0.1 * np.abs(values)
        weights[key] = values.astype(np.float32)
    return weights


def time_networks(
    space: SearchSpace,
    genomes: Sequence[NDArray[np.integer[Any]]],
    target: Target,
    purpose: Purpose,
    seed: int,
    blocks: int = 5,
    block_s: float = 0.03,
) -> tuple[Measurement, ...]:
    """Export, load and time networks together, in interleaved blocks, to each of their exits.

    Raises InputError for a target that is not this machine.
    """
    from .export.onnx import export_segments
    from .runners import runner_for
    from .runners.cascade import Cascade
    from .runners.timing import Plan, measure

    if target.device != HOST:
        raise InputError(f"{target.key} cannot be measured here: its device is not {HOST!r}")
    runner = runner_for(target)
    image = np.random.default_rng(seed).standard_normal((target.batch, *space.input_shape)).astype(np.float32)
    calls: dict[str, Any] = {}
    networks = [space.decode(genome) for genome in genomes]
    with TemporaryDirectory() as folder:
        for number, network in enumerate(networks):
            place = Path(folder) / str(number)
            files = export_segments(network, random_weights(network, seed), place, target.batch)
            programs = [runner.load(place / file.file) for file in files]
            cascade = Cascade(programs, [f.takes for f in files], [f.outputs for f in files], [None] * (len(files) - 1))
            for exit_ in range(len(files)):
                calls[f"{number}/{exit_}"] = partial(cascade.run_to, image, exit_)
        plan = Plan(blocks=blocks, block_s=block_s, warm_up_s=block_s, threads=target.threads)
        readings = measure(calls, plan)
    return tuple(
        Measurement(
            purpose,
            target.key,
            tuple(int(gene) for gene in genome),
            network.key,
            tuple(ExitTime.of(readings[f"{number}/{exit_}"]) for exit_ in range(len(network.exits))),
        )
        for number, (genome, network) in enumerate(zip(genomes, networks, strict=True))
    )
