"""A board over a pipe against this process, on the same machine: what networks take, and how long profiling lasts.

    python benchmarks/board.py --json board.json [--repeats 10] [--profiles 3]

The board is another Python of this machine, reached as any board is. In each repetition the ten networks that `nas
profile` takes are timed both ways, in an order that changes; `ratio` is the median over the pipe to that in this
process. The machine wanders by percents within minutes: `here_over_here` is the same ratio of two measurements in this
process, one after the other, and says how much of it is the machine's. Then `nas profile` is carried out both ways,
into empty folders. Exits 1 where the middle of the ratios is more than 3 % from 1, or profiling over the pipe takes
more than 1.3 times as long as here, or more than 90 s.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from hardware_profiles.host import detect
from nas.devices.base import Device
from nas.devices.board.addresses import Address
from nas.devices.board.connection import Connection
from nas.devices.board.device import Board
from nas.devices.local import InProcess
from nas.devices.networks import BLOCKS, BLOCK_S, Untrained, reference_genomes, time_networks
from nas.devices.profile_store import Setup
from nas.devices.profiling import profile
from nas.devices.runners import builder_for
from nas.devices.site import Site, site_of

TARGET = Target("bench", "onnxruntime")
SETUP = Setup(TARGET, "search_spaces.mobile:mobile", {}, (1, 28, 28), 10, 0)
NETWORKS = 10
#: What is promised: medians, seconds of profiling as a multiple of those here, and at most.
MEDIANS, SLOWER, SECONDS = 0.03, 1.3, 90.0


def seconds(device: Device, untrained: Untrained, genomes: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """What networks take to their last exits [networks]."""
    rows = time_networks(device, untrained, genomes, "calibration", BLOCKS, BLOCK_S)
    return np.array([row.cumulative_s[-1] for row in rows])


def medians(here: Device, there: Device, repeats: int) -> dict[str, Any]:
    """Ratios over repetitions [repeats, networks], as their middle and their 5th and 95th percentile."""
    space = SETUP.space()
    untrained = Untrained(space, builder_for(TARGET, detect(measure=False)), 0)
    genomes = reference_genomes(space, NETWORKS, 0)
    over, same = [], []
    for number in range(repeats):
        order = (here, there, here) if number % 2 else (here, here, there)
        first, second, third = (seconds(device, untrained, genomes) for device in order)
        pipe, beside = (second, third) if number % 2 else (third, second)
        over.append(pipe / np.sqrt(first * beside))
        same.append(beside / first)
        print(
            f"{number + 1}: over the pipe {np.median(over[-1]):.3f}, here again {np.median(same[-1]):.3f}", flush=True
        )
    return {"ratio": spread(np.array(over)), "here_over_here": spread(np.array(same))}


def spread(values: NDArray[np.float64]) -> dict[str, float]:
    """Middle, and what 90 % lie within."""
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return {"low": float(low), "median": float(middle), "high": float(high), "n": values.size}


def profiling(site: Site) -> float:
    """Seconds that `nas profile` takes, after its device was reached."""
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        profile(Path(folder), SETUP, NETWORKS, lambda done, total: None, site)
        return time.perf_counter() - begun


def main() -> int:
    """Measure, print, write the JSON; 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--profiles", type=int, default=3, help="how often it is profiled each way")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    connection = Connection("bench", Address(sys.executable))
    here, there = InProcess(TARGET), Board(TARGET, connection)
    record = medians(here, there, arguments.repeats)
    site = site_of(TARGET)
    with there.open({}) as session:
        board = Site(there, session.runtime, site.machine, site.known, site.described)
    took: dict[str, list[float]] = {name: [] for name in ("here", "pipe")}
    for _ in range(arguments.profiles):
        took["here"].append(profiling(site))
        took["pipe"].append(profiling(board))
    connection.close()
    record["profile_s"] = took
    slower = float(np.median(took["pipe"]) / np.median(took["here"]))
    record["profile_ratio"] = slower
    figures.write(arguments.json, record)
    ratio, same = record["ratio"], record["here_over_here"]
    print(f"medians, pipe over here: {ratio['median']:.3f} (90 %: {ratio['low']:.3f} to {ratio['high']:.3f})")
    print(f"here over here:          {same['median']:.3f} (90 %: {same['low']:.3f} to {same['high']:.3f})")
    print(f"nas profile: {np.median(took['here']):.1f} s here, {np.median(took['pipe']):.1f} s by pipe, {slower:.2f}")
    good = abs(ratio["median"] - 1) <= MEDIANS and slower <= SLOWER and max(took["pipe"]) <= SECONDS
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
