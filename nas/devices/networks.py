"""Timing networks of a space with the runtime of their target, exit by exit, before any of them is trained.

What is timed is what is deployed: segments in a host loop. The weights are random, because a latency does not depend
on their values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.deploy.artefact import Artefact
from nas.deploy.builders import Builder
from nas.devices.base import Device, Session, Wanted
from nas.devices.measurement import Measurement, Purpose
from nas.devices.timing.plan import Plan, SinglePlan
from nas.errors import InputError
from nas.process.machine import computing
from nas.seeds import derive_seed
from search_spaces.ir import Network
from search_spaces.slots import SearchSpace, random_genomes, sizes

#: Blocks of readings of a network, and how many seconds a block takes, unless said otherwise.
BLOCKS: Final = 5
BLOCK_S: Final = 0.03
_REFERENCE: Final = "reference"

Genomes = Sequence[NDArray[np.integer[Any]]]


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


@dataclass(frozen=True)
class Untrained:
    """Networks of a space with random weights of a `seed`, and what builds them."""

    space: SearchSpace
    builder: Builder
    seed: int

    @contextmanager
    def on(self, device: Device) -> Iterator[Timer]:
        """Times them on a device; raises InputError where the runtime is missing, or what the builder needs."""
        with TemporaryDirectory() as folder:
            artefacts = _Artefacts(self, Path(folder))
            with device.open(artefacts) as session:
                yield Timer(device, session, artefacts)


class _Artefacts(Mapping[str, Artefact]):
    """Networks by name, built when they are first looked up."""

    def __init__(self, untrained: Untrained, folder: Path) -> None:
        self.untrained, self._folder = untrained, folder
        self._networks: dict[str, Network] = {}
        self._built: dict[str, Artefact] = {}

    def add(self, name: str, network: Network) -> None:
        self._networks[name] = network

    def __getitem__(self, name: str) -> Artefact:
        if name not in self._built:
            builder, network = self.untrained.builder, self._networks[name]
            if builder.requirement:
                raise InputError(f"networks cannot be built to be timed: {builder.requirement}")
            weights = random_weights(network, self.untrained.seed)
            with computing():
                self._built[name] = builder.build(network, weights, self._folder / name)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)


@dataclass(frozen=True)
class Timer:
    """Times untrained networks in a session, watched by the smallest network of their space."""

    device: Device
    session: Session
    _artefacts: _Artefacts

    @property
    def space(self) -> SearchSpace:
        """Where the networks are from."""
        return self._artefacts.untrained.space

    @cached_property
    def _sample(self) -> NDArray[np.float32]:
        shape = (self.device.target.batch, *self.space.input_shape)
        rng = np.random.default_rng(self._artefacts.untrained.seed)
        return rng.standard_normal(shape).astype(np.float32)

    @cached_property
    def _reference(self) -> str:
        """What it takes tells whether the machine is the same."""
        genome = self.space.canonical(np.zeros((1, len(self.space.genes)), np.int64))[0]
        self._artefacts.add(_REFERENCE, self.space.decode(genome))
        return _REFERENCE

    def time(
        self,
        genomes: Genomes,
        purpose: Purpose,
        blocks: int = BLOCKS,
        block_s: float = BLOCK_S,
        single: SinglePlan | None = None,
    ) -> tuple[Measurement, ...]:
        """Time networks together, in interleaved blocks, to each of their exits, and by single calls where these are
        planned; a row per genome."""
        target = self.device.target
        rows, wanted = [tuple(int(gene) for gene in genome) for genome in genomes], {}
        for row in rows:
            network = self.space.decode(row)
            self._artefacts.add(network.key, network)
            wanted[row] = Wanted(network.key, row, len(network.exits), purpose, single=single)
        plan = Plan(blocks=blocks, block_s=block_s, warm_up_s=block_s, threads=target.threads)
        times = self.session.time(list(wanted.values()), [self._sample], plan, self._reference)
        conditions = self.session.conditions()
        return tuple(
            Measurement(
                purpose=purpose,
                target=target.key,
                genome=row,
                key=wanted[row].name,
                exits=times[wanted[row].name].to_exits,
                reference_s=times[wanted[row].name].reference_s,
                conditions=conditions,
            )
            for row in rows
        )


def time_networks(
    device: Device, untrained: Untrained, genomes: Genomes, purpose: Purpose, blocks: int, block_s: float
) -> tuple[Measurement, ...]:
    """Time networks together; for more than one such call, `Untrained.on` keeps what is built and loaded."""
    with untrained.on(device) as timer:
        return timer.time(genomes, purpose, blocks, block_s)
