"""How many times longer than its sheet says a device takes that was never measured, as devices did that were.

Sheets are biased and not merely noisy: peaks are not reached, runtimes and frameworks cost. The ratios come from public
tables of NAS-Bench-201 networks (`benchmarks/unmeasured.py` computes them and leaves each device out in turn), by
latency model and by class of device; a class without three devices is believed to be like any device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final

from hardware_profiles import HOST, DeviceProfile, Target
from latency_models.features import is_arm

#: The table that `benchmarks/unmeasured.py --write` makes, in `latency_models/data`.
TABLE: Final = "sheets.yaml"
#: The row of all devices together.
ANY: Final = "any"
#: A class with fewer devices has no row of its own.
FEWEST_DEVICES: Final = 3


@dataclass(frozen=True, slots=True)
class SheetError:
    """What is believed of measured over predicted seconds of a device whose sheet alone is known.

    The logarithm of the ratio is that of `median`, with a standard deviation of `between` for devices, common to all
    networks of one, and of `within` for its networks. `devices` is how many it comes from, 0 where the profile itself
    was measured and nothing is known of its bias; `freedom` the degrees of freedom of `between`. `promised` is how much
    faster the sheet says the target to be than one thread in float32, of which the tables say nothing.
    """

    median: float
    between: float
    within: float
    devices: int
    freedom: float
    promised: float = 1.0

    @property
    def log_std(self) -> float:
        """Standard deviation of the logarithm of the ratio, for one network of one device."""
        return math.sqrt(self._variance)

    @property
    def relative(self) -> float:
        """The same as a relative error of seconds, which is that of a log-normal distribution."""
        return math.sqrt(math.expm1(self._variance))

    @property
    def relative_within(self) -> float:
        """The relative error of one network where the device's own factor is known."""
        return math.sqrt(math.expm1(self.within**2))

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of `log_std`, by Satterthwaite: only `between` is from few devices."""
        return self.freedom * (self._variance / self.between**2) ** 2 if self.between else math.inf

    @property
    def _variance(self) -> float:
        # Any share of what is promised may be missing, all alike: the mean square of a uniform distribution.
        return self.between**2 + self.within**2 + math.log(self.promised) ** 2 / 3.0


def sheet_error(model: str, profile: DeviceProfile, target: Target) -> SheetError | None:
    """What to believe of a profile's seconds by the latency model of this name; None for a model without a table."""
    rows = table().get(model)
    if rows is None:
        return None
    found = rows.get(device_class(profile), rows[ANY])
    if profile.id == HOST or profile.machine is not None:
        found = replace(found, median=1.0, devices=0)
    promised = profile.peak(target.dtype, target.threads) / profile.peak("float32", 1)
    return replace(found, promised=max(promised, 1.0))


def device_class(profile: DeviceProfile) -> str:
    """The class of devices whose sheets are off alike, by the kind and the instruction set that a profile names."""
    if profile.kind != "cpu":
        return profile.kind
    # Without a compiler's target nothing says which instruction set it has.
    return ANY if profile.tvm_target is None else "arm cpu" if is_arm(profile) else "x86 cpu"


@functools.cache
def table() -> Mapping[str, Mapping[str, SheetError]]:
    """The shipped errors of sheets, by latency model and class of device."""
    import yaml

    data: Mapping[str, Mapping[str, Mapping[str, Any]]] = yaml.safe_load(
        (files("latency_models") / "data" / TABLE).read_text(encoding="utf-8")
    )
    return {model: {name: SheetError(**row) for name, row in rows.items()} for model, rows in data.items()}
