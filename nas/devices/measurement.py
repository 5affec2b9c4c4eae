"""Measured latencies of networks, exit by exit: taken with the artefact's own runtime, kept one JSON line each.

What is timed is what is deployed: ONNX segments in a host loop. The weights are random, because a latency does not
depend on their values and candidates are measured before they are trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from nas.devices.conditions import Conditions
from nas.devices.timing.readings import Readings
from nas.errors import InputError
from nas.seeds import derive_seed
from search_spaces.ir import Network
from search_spaces.slots import SearchSpace, random_genomes, sizes

if TYPE_CHECKING:
    from nas.deploy.onnx import SegmentFile

#: The device that is measured by running things here.
HOST: Final = "host"
SCHEMA: Final = 1
#: Blocks of readings of a network, and how many seconds a block takes, unless said otherwise.
BLOCKS: Final = 5
BLOCK_S: Final = 0.03
#: Networks that stay loaded, or compiled, in case they are measured again.
_KEPT_READY: Final = 16
Purpose = Literal["calibration", "candidate", "winner"]


@dataclass(frozen=True)
class ExitTime:
    """Cumulative seconds until a sample has left at one exit: the median, its upper 95 % bound, and how it was read.

    For a stream of samples it is the mean instead. `wall_s` and `cpu_s` are what each block gave by either clock;
    `repeated` counts blocks that were thrown away because somebody else was using the core or the reference network
    had moved. `drift` is the largest relative move of the reference next to the blocks that were kept, and `drifted`
    whether that is more than `nas.tolerances` allows. `disturbed` is the share of readings beside which a probe found
    the core shared. `refused` says why the time could not be measured and is empty where it could; then `median_s` is
    more than it and the bound is infinite. `cpu_s` is empty where the clock is too coarse.
    """

    median_s: float
    upper_95_s: float
    contended: bool = False
    wall_s: tuple[float, ...] = ()
    cpu_s: tuple[float, ...] = ()
    repeated: int = 0
    drift: float = 0.0
    drifted: bool = False
    disturbed: float = 0.0
    refused: str = ""

    @staticmethod
    def of(readings: Readings) -> ExitTime:
        """What is kept of readings."""
        centre = np.median if readings.statistic == "median" else np.mean
        return ExitTime(
            readings.value_s,
            readings.upper_95_s,
            readings.contended,
            tuple(centre(readings.wall_s, axis=1).tolist()),
            tuple(centre(readings.cpu_s, axis=1).tolist()) if readings.cpu_per_reading else (),
            readings.repeated,
            readings.drift,
            readings.drifted,
            readings.disturbed,
            readings.refused,
        )

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> ExitTime:
        """Read back what JSON made of it; an infinite bound became null."""
        bound = math.inf if record["upper_95_s"] is None else record["upper_95_s"]
        clocks: dict[str, Any] = {name: tuple(record.get(name, ())) for name in ("wall_s", "cpu_s")}
        later = {k: record[k] for k in ("repeated", "drift", "drifted", "disturbed", "refused") if k in record}
        return ExitTime(record["median_s"], bound, record["contended"], **clocks, **later)


@dataclass(frozen=True)
class Measurement:
    """The seconds to every exit of one network on one target, and what had been predicted for them.

    `broken` names the budgets that this reading showed to be broken, `budget` the one that it was taken for; `stream`
    is the mean over test images with the exits' thresholds, where the budget is about that. `reference_s` is what the
    reference network took meanwhile, usually, or None where the core was never undisturbed beside it; it and
    `conditions` are None in files of older releases.
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
    reference_s: float | None = None
    conditions: Conditions | None = None
    schema: int = field(default=SCHEMA)

    @property
    def reach_s(self) -> NDArray[np.float64]:
        """Median seconds to each exit [exits]."""
        return np.array([exit_.median_s for exit_ in self.exits])

    @property
    def worst_upper_s(self) -> float:
        """Upper bound of the worst case: the last exit's."""
        return self.exits[-1].upper_95_s

    @property
    def drifted(self) -> bool:
        """Whether the machine was not the same while this was read."""
        return any(exit_.drifted for exit_ in self.exits)

    @property
    def disturbed(self) -> float:
        """The largest share of readings, over the exits, beside which the core was shared."""
        return max(exit_.disturbed for exit_ in self.exits)

    @property
    def contended(self) -> bool:
        """Whether others kept using the core, so that CPU time was taken for some exit."""
        return any(exit_.contended for exit_ in self.exits)

    @property
    def refused(self) -> str:
        """Why the time to some exit, or over the stream, could not be measured; empty where all could."""
        times = self.exits if self.stream is None else (*self.exits, self.stream)
        return next((time.refused for time in times if time.refused), "")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values of one line."""
        return asdict(self)

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Measurement:
        """Read a line back; raises InputError for another schema."""
        if record.get("schema") != SCHEMA:
            raise InputError(f"a measurement of schema {record.get('schema')!r}; this version reads {SCHEMA}")
        if "exits" not in record:
            raise InputError(f"a record with {', '.join(sorted(record)) or 'nothing'} is no measurement of a network")
        values = dict(record)
        values["exits"] = tuple(ExitTime.from_dict(entry) for entry in record["exits"])
        values["stream"] = ExitTime.from_dict(record["stream"]) if record.get("stream") else None
        values["conditions"] = Conditions.from_dict(record["conditions"]) if record.get("conditions") else None
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


def reference_genomes(space: SearchSpace, n: int, seed: int) -> list[NDArray[np.int64]]:
    """Networks to get to know a target with: the smallest, the largest, and random ones, all different.

    More of them begin with the same ones; a small space may have fewer than `n`.
    """
    limits = sizes(space)
    corners = space.canonical(np.stack([np.zeros_like(limits), limits - 1]))
    drawn = random_genomes(space, 8 * n, np.random.default_rng(seed))
    different = dict.fromkeys(map(tuple, np.concatenate((corners, drawn)).tolist()))
    return [np.array(genome) for genome in different][:n]


class Loader:
    """Networks made ready to be timed with a target's runtime: exported, compiled if need be, and loaded.

    Raises InputError where the runtime is missing, or the C++ compiler that TVM needs.
    """

    def __init__(self, space: SearchSpace, target: Target, seed: int) -> None:
        from nas.devices.runners import runner_for

        if target.runner == "tvm":
            from nas.deploy.tvm import compiler

            if compiler().command is None:
                raise InputError(f"cannot compile networks with TVM: {compiler().reason}")
        self.space, self.target, self.seed = space, target, seed
        self.runner = runner_for(target)
        self._ready: dict[str, list[Callable[[], object]]] = {}
        self.image = np.random.default_rng(seed).standard_normal((target.batch, *space.input_shape)).astype(np.float32)

    def calls(self, network: Network) -> list[Callable[[], object]]:
        """For each exit what runs a sample up to it; a few networks are kept ready, for one that is measured again."""
        from nas.deploy.onnx import export_segments
        from nas.devices.runners.base import load_cascade

        if network.key in self._ready:
            return self._ready[network.key]
        with TemporaryDirectory() as folder:
            place = Path(folder)
            files = export_segments(network, random_weights(network, self.seed), place, self.target.batch)
            if self.target.runner == "tvm":
                files = self._compiled(files, place)
            cascade = load_cascade(self.runner, place, files, [None] * (len(files) - 1))
        while len(self._ready) >= _KEPT_READY:
            del self._ready[next(iter(self._ready))]
        self._ready[network.key] = [partial(cascade.run_to, self.image, exit_) for exit_ in range(len(files))]
        return self._ready[network.key]

    def reference(self) -> Callable[[], object]:
        """The smallest network of the space, run to its end: what it takes tells whether the machine is the same."""
        genome = self.space.canonical(np.zeros((1, len(self.space.genes)), np.int64))[0]
        return self.calls(self.space.decode(genome))[-1]

    def _compiled(self, files: tuple[SegmentFile, ...], place: Path) -> tuple[SegmentFile, ...]:
        from hardware_profiles.host import tvm_target
        from nas.deploy.tvm import segments_to_tvm

        return segments_to_tvm(files, place, {**tvm_target(), "num-cores": self.target.threads}, place)


def time_networks(
    space: SearchSpace,
    genomes: Sequence[NDArray[np.integer[Any]]],
    target: Target,
    purpose: Purpose,
    seed: int,
    blocks: int = BLOCKS,
    block_s: float = BLOCK_S,
    here: bool = False,
) -> tuple[Measurement, ...]:
    """Export, load and time networks together, in interleaved blocks, to each of their exits.

    `here` says that the target's device is this machine by another name than `host`. Raises InputError for a target
    that is not this machine.
    """
    if target.device != HOST and not here:
        raise InputError(f"{target.key} cannot be measured here: its device is not {HOST!r}")
    loader = Loader(space, target, seed)
    return time_loaded(loader, loader.reference(), genomes, purpose, blocks, block_s)


def time_loaded(
    loader: Loader,
    reference: Callable[[], object],
    genomes: Sequence[NDArray[np.integer[Any]]],
    purpose: Purpose,
    blocks: int = BLOCKS,
    block_s: float = BLOCK_S,
) -> tuple[Measurement, ...]:
    """As `time_networks`, watched by a reference that was made ready before."""
    from nas.devices.timing.measuring import Plan, measure

    target = loader.target
    networks = [loader.space.decode(genome) for genome in genomes]
    calls = {f"{i}/{k}": call for i, network in enumerate(networks) for k, call in enumerate(loader.calls(network))}
    plan = Plan(blocks=blocks, block_s=block_s, warm_up_s=block_s, threads=target.threads)
    readings = measure(calls, plan, reference=reference)
    conditions = Conditions.now(loader.runner.version, target.threads)
    rows = []
    for number, (genome, network) in enumerate(zip(genomes, networks, strict=True)):
        of_exits = [readings[f"{number}/{exit_}"] for exit_ in range(len(network.exits))]
        rows.append(
            Measurement(
                purpose,
                target.key,
                tuple(int(gene) for gene in genome),
                network.key,
                tuple(ExitTime.of(found) for found in of_exits),
                reference_s=_known(of_exits[-1].reference_s),
                conditions=conditions,
            )
        )
    return tuple(rows)


def _known(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds
