"""Timing networks of a space with the runtime of their target, exit by exit, before any of them is trained.

What is timed is what is deployed: ONNX segments in a host loop. The weights are random, because a latency does not
depend on their values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from nas.devices.conditions import Conditions
from nas.devices.measurement import ExitTime, Measurement, Purpose
from nas.errors import InputError
from nas.seeds import derive_seed
from search_spaces.ir import Network
from search_spaces.slots import SearchSpace, random_genomes, sizes

if TYPE_CHECKING:
    from nas.deploy.onnx import SegmentFile

#: Blocks of readings of a network, and how many seconds a block takes, unless said otherwise.
BLOCKS: Final = 5
BLOCK_S: Final = 0.03
#: Networks that stay loaded, or compiled, in case they are measured again.
_KEPT_READY: Final = 16


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


def time_loaded(
    loader: Loader,
    reference: Callable[[], object],
    genomes: Sequence[NDArray[np.integer[Any]]],
    purpose: Purpose,
    blocks: int = BLOCKS,
    block_s: float = BLOCK_S,
) -> tuple[Measurement, ...]:
    """Time networks together, in interleaved blocks, to each of their exits, watched by a `reference` that is ready.

    The reference is usually the loader's own.
    """
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
                purpose=purpose,
                target=target.key,
                genome=tuple(int(gene) for gene in genome),
                key=network.key,
                exits=tuple(ExitTime.of(found) for found in of_exits),
                reference_s=_known(of_exits[-1].reference_s),
                conditions=conditions,
            )
        )
    return tuple(rows)


def _known(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds
