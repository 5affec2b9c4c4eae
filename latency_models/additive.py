"""A latency model as tables over a space: a million genomes per second instead of thousands of networks.

A slot's operators depend on a few genes only and no kernel crosses a slot, so each combination of those genes is
priced once, and a genome's seconds are a sum of table entries. The same tables carry any other quantity that adds up.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from search_spaces.ir import Network
from search_spaces.slots import Genomes, SearchSpace, Slot

Floats = NDArray[np.float64]
Quantity = Literal["macs", "params", "weight_bytes"]
QUANTITIES: Final[tuple[Quantity, ...]] = ("macs", "params", "weight_bytes")
#: Genomes per pass: the columns of a pass stay in a core's L2 cache.
_CHUNK: Final = 32_768
_THREADS: Final = min(2, os.cpu_count() or 1)
#: The networks of the slots of spaces, by identity, as long as these are there.
_NETWORKS: Final[dict[int, list[list[Network | None]]]] = {}
_Out = TypeVar("_Out", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Tables:
    """One number per slot and combination of its genes; a genome's total is the sum over its slots.

    `values[i]` [combinations] is 0 where slot i is absent, `present[i]` says where it is not. All methods take
    canonical genomes [n, genes]; others would pay for exits and blocks that the network does not have.
    """

    slots: tuple[Slot, ...]
    values: tuple[Floats, ...]
    present: tuple[NDArray[np.bool_], ...]

    def total(self, genomes: Genomes) -> Floats:
        """The sum over all slots, every exit that is on included [n]."""
        constant = sum(float(table[0]) for table in self.values if len(table) == 1)
        varying = [(slot, table) for slot, table in zip(self.slots, self.values, strict=True) if len(table) > 1]

        def work(part: Genomes, out: Floats) -> None:
            out[...] = constant
            for slot, table in varying:
                out += table[slot.index(part)]

        return _by_chunks(genomes, np.empty(len(genomes)), work)

    def cumulative(self, genomes: Genomes) -> Floats:
        """The sum up to each exit position, exits passed before included [n, positions]; NaN where that exit is off.

        Positions are the space's exit slots in order, the final one last.
        """
        positions = [i for i, slot in enumerate(self.slots) if slot.role != "body"]

        def work(part: Genomes, out: Floats) -> None:
            running = np.zeros(len(part))
            for i, slot in enumerate(self.slots):
                index = slot.index(part)
                running += self.values[i][index]
                if slot.role != "body":
                    out[:, positions.index(i)] = np.where(self.present[i][index], running, np.nan)

        return _by_chunks(genomes, np.empty((len(genomes), len(positions))), work)


@dataclass(frozen=True, eq=False)
class Additive:
    """A latency model compiled for one space; equal to the model itself to rounding."""

    target: Target
    seconds: Tables
    counts: dict[Quantity, Tables]

    def latency_s(self, genomes: Genomes) -> Floats:
        """Worst-case seconds of canonical genomes [n, genes]: every exit passed, its call and decision paid [n]."""
        return self.seconds.total(genomes)

    def cumulative_s(self, genomes: Genomes) -> Floats:
        """Seconds up to each exit position, the final one last [n, positions]; NaN where that exit is off."""
        return self.seconds.cumulative(genomes)

    def tables(self, quantity: Quantity) -> Tables:
        """The tables of a static count (a member of QUANTITIES), for one sample."""
        return self.counts[quantity]


class AdditiveModel(Protocol):
    """A model whose seconds add up over operators, and which `additive.compile` therefore turns into tables."""

    @property
    def target(self) -> Target:
        """What the seconds hold for."""

    @property
    def call_s(self) -> float:
        """Seconds of one call to the runtime; every segment is one."""

    @property
    def decision_s(self) -> float:
        """Seconds of deciding at one early exit."""

    def body_s(self, networks: Sequence[Network]) -> Floats:
        """Seconds of the operators alone, without call and decision [n]."""


def compile(space: SearchSpace, model: AdditiveModel) -> Additive:
    """Price every combination of every slot of `space`, each on its own.

    Raises UnpricedOperator, and ValueError for a space whose exits do not read everything before them, since the
    seconds up to such an exit are no running sum.
    """
    if broken := _broken_chain(space):
        raise ValueError(broken)
    networks = _networks(space)
    present = tuple(np.array([network is not None for network in column]) for column in networks)

    def table(price: Callable[[list[Network]], Sequence[float] | Floats], column: list[Network | None]) -> Floats:
        values = np.zeros(len(column))
        found = [network for network in column if network is not None]
        values[[network is not None for network in column]] = price(found)
        return values

    seconds = []
    for slot, column, there in zip(space.slots, networks, present, strict=True):
        overhead = {"body": 0.0, "exit": model.call_s + model.decision_s, "final": model.call_s}[slot.role]
        seconds.append(table(model.body_s, column) + overhead * there)

    def counted(quantity: Quantity) -> Tables:
        return Tables(
            space.slots,
            tuple(table(lambda found: [getattr(network, quantity) for network in found], c) for c in networks),
            present,
        )

    return Additive(
        target=model.target,
        seconds=Tables(space.slots, tuple(seconds), present),
        counts={quantity: counted(quantity) for quantity in QUANTITIES},
    )


def _networks(space: SearchSpace) -> list[list[Network | None]]:
    """The network of every combination of every slot, None where it is absent; made once for all targets."""
    known = _NETWORKS.get(id(space))
    if known is not None:
        return known
    made = [[slot.network(values) for values in slot.combinations()] for slot in space.slots]
    try:
        weakref.finalize(space, _NETWORKS.pop, id(space), None).atexit = False
    except TypeError:  # a space of somebody's own that says nothing when it goes
        return made
    _NETWORKS[id(space)] = made
    return made


def row_hash(genomes: Genomes) -> NDArray[np.uint64]:
    """A 64-bit hash of each genome [n]; two of a million different ones collide with probability below 1e-7."""
    multipliers: NDArray[np.uint64]
    multipliers = np.asarray(np.random.default_rng(0).integers(0, 2**64, genomes.shape[1], np.uint64))

    def work(part: Genomes, out: NDArray[np.uint64]) -> None:
        out[...] = 0
        for gene, multiplier in enumerate(multipliers):
            out += part[:, gene].astype(np.uint64) * multiplier

    return _by_chunks(genomes, np.empty(len(genomes), np.uint64), work)


def unique(genomes: Genomes) -> NDArray[np.intp]:
    """Indices of the first occurrence of each different genome, in order."""
    return np.sort(np.unique(row_hash(genomes), return_index=True)[1])


def _by_chunks(genomes: Genomes, out: NDArray[_Out], work: Callable[[Genomes, NDArray[_Out]], None]) -> NDArray[_Out]:
    """Fill `out` part by part, on two threads where there is enough to do; numpy releases the interpreter lock."""

    def run(start: int) -> None:
        part = genomes[start : start + _CHUNK]
        # Columns are read gene by gene: contiguous and small they stay in cache.
        work(np.asfortranarray(part, np.uint8 if part.max(initial=0) < 256 else np.int32), out[start : start + _CHUNK])

    starts = range(0, len(genomes), _CHUNK)
    if len(starts) == 1 or _THREADS == 1:
        for start in starts:
            run(start)
    else:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(run, starts))
    return out


def adds_up(space: SearchSpace) -> bool:
    """Whether `compile` can price a space: its exits read everything that runs before them."""
    return not _broken_chain(space)


def _broken_chain(space: SearchSpace) -> str:
    """Which exit does not read everything before it, or nothing."""
    reads: dict[str, set[str]] = {}
    bodies: set[str] = set()
    for slot in space.slots:
        reads[slot.name] = set(slot.inputs).union(*(reads.get(name, set()) for name in slot.inputs))
        if slot.role == "body":
            bodies.add(slot.name)
        elif missing := bodies - reads[slot.name]:
            return (
                f"exit {slot.name!r} of space {space.name!r} does not read {sorted(missing)[0]!r}, which runs before "
                "it; put the exit before that slot, or price this space with the model itself"
            )
    return ""
