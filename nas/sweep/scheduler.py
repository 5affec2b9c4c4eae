"""When are the cells of a sweep compared, so that those behind can be stopped early, as its file says?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from nas.config.registry import nearest
from nas.errors import InputError

#: What a sweep file can name.
SCHEDULERS: Final = ("asha",)


@dataclass(frozen=True)
class Scheduler:
    """Asynchronous successive halving (ASHA; Li et al., MLSys 2020, arXiv 1810.05934) over epochs of shared weights.

    Cells are compared after `min_epochs`, after `reduction_factor` times as many, and so on; about one in
    `reduction_factor` goes on. Who comes first has nobody to be compared with, and goes on.
    """

    name: str = SCHEDULERS[0]
    min_epochs: int = 2
    reduction_factor: int = 3

    def __post_init__(self) -> None:
        if self.name not in SCHEDULERS:
            known = ", ".join(SCHEDULERS)
            raise InputError(
                f"scheduler.name: there is no scheduler {self.name!r}{nearest(self.name, SCHEDULERS)} Known: {known}"
            )
        for name, value, least in (("min_epochs", self.min_epochs, 1), ("reduction_factor", self.reduction_factor, 2)):
            if value < least:
                raise InputError(f"scheduler.{name} is {value}; it must be at least {least}")

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs after which a training of so many is compared: all before its end."""
        found, epoch = [], self.min_epochs
        while epoch < epochs:
            found.append(epoch)
            epoch *= self.reduction_factor
        return tuple(found)


def written_out(scheduler: Any) -> Any:
    """What a sweep file says of a scheduler, with the keys that its name alone stands for."""
    return {"name": scheduler} if isinstance(scheduler, str) else scheduler
