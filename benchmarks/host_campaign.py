"""The measurements behind host_latency.py: taken once, kept line by line, and never taken twice.

A campaign measures, for each input size, a pool of networks to every exit in several passes, a reference network
before, between and after the passes, many networks quickly, and every kernel of the space alone. What is in the file
already is not measured again, so that a killed campaign goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target, load
from hardware_profiles.schema import parse
from latency_models.kernels import distinct_of_space
from nas.devices.kernel_table import kernel_seconds
from nas.devices.local import InProcess
from nas.devices.measurement import Measurement
from nas.devices.networks import Untrained, time_networks
from nas.devices.runners import builder_for
from search_spaces.mobile import TABLES, mobile
from search_spaces.slots import SearchSpace, random_genomes, sizes

TARGET = Target("host", "onnxruntime")
#: Blocks per pass and seconds per block of a well measured and of a quickly measured network.
WELL, QUICK = (5, 0.01), (3, 0.004)
CHUNK = 50
Genome = tuple[int, ...]
Record = dict[str, Any]


@dataclass
class Campaign:
    """The records of a file, in order; `add` appends to it at once."""

    path: Path | None
    records: list[Record] = field(default_factory=list)

    @staticmethod
    def open(path: Path | None) -> Campaign:
        """Read what there is; a line that was cut short when the campaign was killed is left out."""
        campaign = Campaign(path)
        if path is not None and path.exists():
            lines = path.read_text().splitlines(keepends=True)
            campaign.records = [json.loads(line) for line in lines if line.endswith("\n")]
            if lines and not lines[-1].endswith("\n"):
                path.write_text("".join(lines[:-1]))
        return campaign

    def add(self, records: Sequence[Record]) -> None:
        """Keep records."""
        self.records += records
        if self.path is not None:
            with self.path.open("a") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)

    def of(self, kind: str, table: str = "", **wanted: Any) -> Iterator[Record]:
        """The records of a kind and a table."""
        for record in self.records:
            given = {"kind": kind, "table": table} if table else {"kind": kind}
            if all(record.get(name) == value for name, value in (given | wanted).items()):
                yield record

    def profile(self) -> DeviceProfile:
        """This machine's profile as it was when the campaign began."""
        for record in self.of("machine"):
            return parse(record["profile"], "the campaign's profile")
        import onnxruntime

        profile = load("host")
        self.add([{"kind": "machine", "profile": profile.to_dict(), "onnxruntime": onnxruntime.__version__}])
        return profile


def space_of(table: str) -> SearchSpace:
    """The mobile space of a table, for RGB images and ten classes."""
    return mobile((3, *TABLES[table].size), 10, table)


def timed(
    space: SearchSpace, genomes: Sequence[NDArray[Any]], seed: int, blocks: int, block_s: float
) -> tuple[Measurement, ...]:
    """Networks with random weights, timed together on this machine."""
    untrained = Untrained(space, builder_for(TARGET, load("host")), seed)
    return time_networks(InProcess(TARGET), untrained, genomes, "calibration", blocks, block_s)


def pool(space: SearchSpace, count: int, seed: int) -> list[Genome]:
    """The smallest and the largest network, then different random ones."""
    limits = sizes(space)
    corners = space.canonical(np.stack([np.zeros_like(limits), limits - 1]))
    drawn = random_genomes(space, 2 * count + 50, np.random.default_rng(seed))
    return list(dict.fromkeys(map(tuple, np.concatenate((corners, drawn)).tolist())))[:count]


def well(campaign: Campaign, table: str, kind: str, genomes: Sequence[Genome], number: int, seed: int = 0) -> None:
    """One pass over networks, to all their exits, in interleaved blocks, with the reference before and after."""
    done = {tuple(record["genome"]) for record in campaign.of(kind, table, number=number)}
    wanted = [genome for genome in genomes if genome not in done]
    if not wanted:
        return
    space = space_of(table)
    reference(campaign, table, f"before {kind} {number}")
    rows = timed(space, [np.array(genome) for genome in wanted], seed + number, *WELL)
    campaign.add([_record(kind, table, row, number) for row in rows])
    reference(campaign, table, f"after {kind} {number}")


def quick(campaign: Campaign, table: str, genomes: Sequence[Genome]) -> None:
    """Fewer and shorter blocks, networks in chunks."""
    done = {tuple(record["genome"]) for record in campaign.of("quick", table)}
    wanted = [genome for genome in genomes if genome not in done]
    space = space_of(table)
    for start in range(0, len(wanted), CHUNK):
        chunk = [np.array(genome) for genome in wanted[start : start + CHUNK]]
        rows = timed(space, chunk, 0, *QUICK)
        campaign.add([_record("quick", table, row, 0) for row in rows])
        reference(campaign, table, "between quick")


def kernels(campaign: Campaign, table: str) -> None:
    """Every distinct kernel of the space alone."""
    space = space_of(table)
    known = {record["signature"] for record in campaign.of("kernel", table)}
    wanted = distinct_of_space(space, campaign.profile().fusions)
    missing = [(key.text, network) for key, network in wanted.items() if key.text not in known]
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]
        seconds = kernel_seconds([network for _, network in chunk], TARGET)
        campaign.add(
            [
                {"kind": "kernel", "table": table, "signature": key, "seconds": value}
                for (key, _), value in zip(chunk, seconds, strict=True)
            ]
        )


def reference(campaign: Campaign, table: str, when: str) -> None:
    """The middle network of the pool once more: what it takes now against then is the drift of the machine."""
    space = space_of(table)
    genome = space.canonical((sizes(space)[None] - 1) // 2)[0]
    (row,) = timed(space, [genome], 0, 3, 0.03)
    campaign.add([_record("reference", table, row, 0) | {"when": when}])


def measured(campaign: Campaign, table: str, kind: str) -> dict[Genome, NDArray[np.float64]]:
    """Seconds to each exit [passes, exits] of every network that was measured."""
    found: dict[Genome, list[list[float]]] = {}
    for record in campaign.of(kind, table):
        found.setdefault(tuple(record["genome"]), []).append(record["reach_s"])
    return {genome: np.array(passes) for genome, passes in found.items()}


def drift(campaign: Campaign, table: str) -> tuple[float, int]:
    """Largest departure of the reference network from its median, as a share, and how many readings of it there are."""
    seconds = np.array([record["reach_s"][-1] for record in campaign.of("reference", table)])
    return float(np.abs(seconds / np.median(seconds) - 1).max()), len(seconds)


def _record(kind: str, table: str, row: Measurement, number: int) -> Record:
    return {
        "kind": kind,
        "table": table,
        "number": number,
        "genome": list(row.genome),
        "reach_s": row.cumulative_s.tolist(),
        "contended": row.contended,
        "drifted": row.drifted,
        "blocks_s": [list(exit_.wall_s) for exit_ in row.exits],
    }
