"""Measuring this machine into a device profile: a few networks per target, a calibration and a table made of them.

The readings are the state: a command that was killed goes on with what is missing, and what was measured is not
measured again, but for readings during which the machine was not the same.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile
from hardware_profiles.host import differences
from latency_models.base import LatencyModel
from latency_models.table import LatencyTable, save_table
from nas.config import registry
from nas.devices.family import with_family_prior
from nas.devices.measurement import Measurement
from nas.devices.networks import Timer, Untrained, reference_genomes
from nas.devices.profile_store import (
    CALIBRATION,
    MODEL,
    READINGS,
    TABLE,
    Head,
    Reading,
    Setup,
    counting,
    existing,
    folder_of,
    load,
    to_fit,
)
from nas.devices.runners import builder_for
from nas.devices.site import Site
from nas.errors import InputError
from nas.process.files import append_jsonl, atomic_path, atomic_write_bytes, atomic_write_text, read_jsonl
from nas.process.interrupt import stop_if_asked
from nas.process.lock import locked
from nas.tolerances import REFERENCE_DRIFT
from search_spaces.slots import SearchSpace

#: How often a network is measured again because the machine was not the same.
_REPEATS: Final = 2


@dataclass(frozen=True)
class ProfileResult:
    """What `profile` found: the readings that count, the model fitted to them, and how many were taken just now."""

    folder: Path
    head: Head
    readings: tuple[Reading, ...]
    model: LatencyModel
    taken: int

    @property
    def unstable(self) -> int:
        """Networks whose reading is not to be trusted."""
        return sum(not reading.stable for reading in self.readings)


def profile(out: Path, setup: Setup, networks: int, progress: Callable[[int, int], None], site: Site) -> ProfileResult:
    """Measure what is missing, fit, and write profile, calibration and table.

    `progress` is told how many networks are done, of how many. Raises InputError for a profile of another machine, or
    readings that were begun otherwise, DeviceLost where the device does not answer any more, and KeyboardInterrupt if
    asked to stop.
    """
    space = setup.space()
    existing(out, setup.target.device, site.machine)  # what cannot be gone on with is refused before a folder is made
    runtime = site.runtime
    builder = builder_for(setup.target, site.known, setup.plugins)
    if builder.requirement:
        raise InputError(f"networks for {setup.target.runner} cannot be built here: {builder.requirement}")
    folder = folder_of(out, setup.target, space)
    if read_jsonl(folder / READINGS):
        _check(folder, setup, site)
    # All targets of a device write its profile, and two that are measured at a time disturb each other.
    with locked(out / setup.target.device):
        known = existing(out, setup.target.device, site.machine)
        folder.mkdir(parents=True, exist_ok=True)
        if not read_jsonl(folder / READINGS):
            named = known or site.described()
            head = Head(setup.to_dict(), space.name, runtime, named)
            append_jsonl(folder / READINGS, [head.to_dict()])
        head, rows = load(folder)
        genomes = reference_genomes(space, networks, setup.seed)
        wanted = {space.decode(genome).key: genome for genome in genomes}
        before = len(rows)
        untrained = Untrained(space, builder, setup.seed)
        with untrained.on(site.device) as timer:
            for row in _take(timer, wanted, list(rows), progress):
                append_jsonl(folder / READINGS, [row.to_dict()])
        found = counting(load(folder)[1])
        model = _fitted(out, head, setup, space, found)
        _write(out, folder, known or head.profile, setup, found, model)
    return ProfileResult(folder, head, found, model, len(load(folder)[1]) - before)


def _take(
    timer: Timer,
    wanted: Mapping[str, NDArray[np.int64]],
    rows: list[Measurement],
    progress: Callable[[int, int], None],
) -> Iterator[Measurement]:
    """Readings of networks that have none; then again of those during which the machine was not the same."""
    while True:
        stable = {reading.row.key: reading.stable for reading in counting(rows)}
        tries = {key: sum(row.key == key for row in rows) for key in wanted}
        missing = [key for key in wanted if not tries[key]]
        again = [key for key in wanted if not stable.get(key, True) and tries[key] <= _REPEATS]
        progress(len(wanted) - len(missing), len(wanted))
        if not missing and not again:
            return
        stop_if_asked()
        # The one with the fewest tries first, so that tries of the same network lie apart in time.
        key = missing[0] if missing else min(again, key=lambda key: tries[key])
        (row,) = timer.time([wanted[key]], "calibration")
        yield row
        rows.append(row)


def _check(folder: Path, setup: Setup, site: Site) -> None:
    head, _ = load(folder)
    remedy = f"; delete {folder} to measure anew"
    for key, value in setup.to_dict().items():
        if head.setup.get(key) != value and not (key == "arguments" and _same_space(head, setup)):
            raise InputError(f"{folder} was begun with {key} {head.setup.get(key)!r}, now it is {value!r}{remedy}")
    if head.runtime != site.runtime:
        raise InputError(f"{folder} was measured with {head.runtime}, here is {site.runtime}{remedy}")
    if problems := differences(head.profile.machine, site.machine):
        raise InputError(f"{folder} was measured on another machine ({'; '.join(problems)}); choose another name")


def _same_space(head: Head, setup: Setup) -> bool:
    """Whether a table that was named, then or now, is the one that is taken without a name."""
    begun = head.setup.get("arguments")
    if not isinstance(begun, dict) or not {*begun, *setup.arguments} <= {"table"}:
        return False
    made, now = replace(setup, arguments=begun).space(), setup.space()
    return (made.name, made.genes) == (now.name, now.genes)


def _fitted(out: Path, head: Head, setup: Setup, space: SearchSpace, found: Sequence[Reading]) -> LatencyModel:
    """The model calibrated on the readings that can be trusted, as far as there are enough."""
    rows = to_fit(found)
    seconds = np.full((len(rows), max(len(row.exits) for row in rows)), np.nan)
    for number, row in enumerate(rows):
        seconds[number, : len(row.exits)] = row.cumulative_s
    model = with_family_prior(registry.load(MODEL)(head.profile, setup.target), head.profile, space, (out,))
    return model.fit([space.decode(row.genome) for row in rows], seconds)


def _write(
    out: Path, folder: Path, base: DeviceProfile, setup: Setup, found: Sequence[Reading], model: LatencyModel
) -> None:
    """The files that are made of the readings; the profile last, so that one that is there is complete.

    In the table, a network counts as not measured if its reading is not to be trusted.
    """
    data = io.BytesIO()
    model.save(data)
    atomic_write_bytes(folder / CALIBRATION, data.getvalue())
    table = LatencyTable(
        latency_s=np.array([[reading.row.cumulative_s[-1] if reading.stable else np.nan] for reading in found]),
        devices=(setup.target.device,),
        ops=np.array([reading.row.genome for reading in found], np.int64),
        families=(base.family,),
        batch=(setup.target.batch,),
    )
    with atomic_path(folder / TABLE) as temporary:
        save_table(temporary, table)
    about = f"{setup.target.key}, {folder.name}: "
    notes = [note for note in base.notes if not note.startswith(about)]
    atomic_write_text(out / f"{base.id}.yaml", _yaml(replace(base, notes=(*notes, about + _verdict(found)))))


def _verdict(found: Sequence[Reading]) -> str:
    unstable = sum(not reading.stable for reading in found)
    contended = sum(reading.row.contended for reading in found)
    text = f"{len(found)} networks measured"
    if unstable:
        text += (
            f"; UNSTABLE, in {unstable} readings the core was shared, or its clock moved by over {REFERENCE_DRIFT:.0%}"
        )
    if refused := [reading.row.refused for reading in found if reading.row.refused]:
        text += f"; NOT MEASURABLE in {len(refused)} readings: {refused[0]}"
    if contended:
        text += f"; others used the core in {contended} readings, CPU time was taken"
    return text


def _yaml(made: DeviceProfile) -> str:
    import yaml

    text = yaml.safe_dump(made.to_dict(), sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    return f"# Written by `nas profile {made.id}`; calibrations and tables lie in the folder of the same name.\n{text}"
