"""Where do the cells of a sweep run: on this machine, or on a Ray cluster, as its file and the command say?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from nas.config.parse import shown
from nas.errors import InputError

Name = Literal["local", "ray"]
CPUS, GPUS = "cpus", "gpus"
#: What Ray calls these two, and others that it counts by itself: they cannot be names of one's own.
_RAYS: Final = {CPUS: "CPU", GPUS: "GPU"}
_TAKEN: Final = {"CPU": CPUS, "GPU": GPUS, "memory": "", "object_store_memory": ""}
_RESOURCE: Final = re.compile(r"[A-Za-z][\w.-]*")
#: Beginning again and again what kills its machine helps nobody.
_MOST_FAILURES: Final = 100
#: More of anything, in one machine, are a mistake.
_MOST: Final = 1_000_000


@dataclass(frozen=True)
class Executor:
    """`local`: here, `workers` cells at a time. `ray`: on the cluster at `address`, or one of this machine alone.

    There each cell has `resources` of one machine: `cpus`, `gpus`, and others that a machine was started with; where
    that machine or the cell's process dies, the cell begins again, `max_failures` times at most. Keys of the one that
    is not meant are for when it is.
    """

    name: Name = "local"
    workers: int | None = None
    address: str | None = None
    resources: dict[str, int] = field(default_factory=dict)
    max_failures: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.max_failures <= _MOST_FAILURES:
            raise InputError(
                f"executor.max_failures is {shown(self.max_failures)}; it must be from 0 to {_MOST_FAILURES}"
            )
        if self.workers is not None:
            _require_count("executor.workers", self.workers, 1)
        for name, count in self.resources.items():
            _require_resource(name, count)

    @property
    def cpus(self) -> int:
        """The cores of a cell on a Ray cluster."""
        return self.resources.get(CPUS, 1)

    @property
    def gpus(self) -> int:
        """The GPUs of a cell on a Ray cluster."""
        return self.resources.get(GPUS, 0)

    @property
    def others(self) -> Mapping[str, int]:
        """What else a cell needs of a machine, by the name that the machine was started with."""
        return {name: count for name, count in self.resources.items() if name not in _RAYS}

    @property
    def demand(self) -> Mapping[str, int]:
        """All of it, by Ray's names."""
        whole = {_RAYS[CPUS]: self.cpus, _RAYS[GPUS]: self.gpus, **self.others}
        return {name: count for name, count in whole.items() if count}


def chosen(written: Executor, name: Name | None, workers: int | None, address: str | None) -> Executor:
    """What a sweep file says, as far as the options of the command do not; raises InputError for one without effect."""
    name = name or written.name
    if workers is not None and workers < 1:
        raise InputError(f"--workers is {workers}; give at least 1, or leave it out for one cell at a time")
    if workers is not None and name != "local":
        raise InputError(
            f"--workers is {workers}, and on a Ray cluster as many cells run as it has room for; say with "
            "`executor.resources` in the sweep's file what each of them needs"
        )
    if address is not None and name != "ray":
        raise InputError(f"--address is {address!r}, which is for Ray; give --executor ray too, or leave it out")
    return replace(
        written,
        name=name,
        workers=written.workers if workers is None else workers,
        address=address or written.address,
    )


def _require_resource(name: str, count: int) -> None:
    where = f"executor.resources.{name}"
    if name in _TAKEN or not _RESOURCE.fullmatch(name):
        instead = f"write `{_TAKEN[name]}`" if _TAKEN.get(name) else "write cpus, gpus, or a name of your own"
        raise InputError(f"{where}: {name!r} cannot be asked for by that name; {instead}")
    _require_count(where, count, 1 if name == CPUS else 0)


def _require_count(where: str, count: int, least: int) -> None:
    if not least <= count <= _MOST:
        raise InputError(f"{where} is {shown(count)}; it must be at least {least}, and at most {_MOST:,}")
