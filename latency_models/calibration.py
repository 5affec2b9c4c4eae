"""A calibration: the measurements of one target, the machine they were read against, and what was fitted to them.

It is all that a prediction needs, so a run folder that stores it predicts the same seconds later, whatever the profile
says by then. New measurements are added by fitting again with more rows.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from latency_models.base import Floats
from latency_models.features import FEATURES, Machine, counts, machine
from latency_models.linear import Fit, Rows, fit, unmeasured
from search_spaces.ir import Network

SCHEMA: Final = 1
_ARRAYS: Final = ("features", "seconds", "network", "weight")


@dataclass(frozen=True, eq=False)
class Calibration:
    """The fitted coefficients of the model `model` (a key of FEATURES) on `target`, and the rows behind them."""

    model: str
    target: Target
    machine: Machine
    rows: Rows
    fit: Fit

    @property
    def networks(self) -> int:
        """Number of networks measured; 0 for an uncalibrated model."""
        return self.rows.networks

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients by name: factors on roofline seconds by op class, the rest in seconds each."""
        return dict(zip(FEATURES[self.model].columns, self.fit.coefficients.tolist(), strict=True))

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write everything as npz without pickle."""
        header = {"schema": SCHEMA, "model": self.model, "target": asdict(self.target), "machine": asdict(self.machine)}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            header=np.array(json.dumps(header)),
            coefficients=self.fit.coefficients,
            covariance=self.fit.covariance,
            noise=np.array(self.fit.noise),
            **{name: getattr(self.rows, name) for name in _ARRAYS},
        )
        if isinstance(file, str | Path):
            Path(file).write_bytes(buffer.getvalue())
        else:
            file.write(buffer.getvalue())

    @staticmethod
    def load(file: str | Path | BinaryIO) -> Calibration:
        """Read what `save` wrote; predictions are the same. Raises ValueError for another schema or a foreign file."""
        try:
            with np.load(file, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
            header = json.loads(str(arrays["header"]))
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file}: is not a stored latency model ({error})") from error
        if header["schema"] != SCHEMA:
            raise ValueError(f"{file}: a latency model of schema {header['schema']}; this release reads {SCHEMA}")
        description = header["machine"]
        for name in ("flops_per_s", "fusions"):
            description[name] = tuple(description[name])
        return Calibration(
            model=header["model"],
            target=Target(**header["target"]),
            machine=Machine(**description),
            rows=Rows(**{name: arrays[name] for name in _ARRAYS}),
            fit=Fit(arrays["coefficients"], arrays["covariance"], float(arrays["noise"])),
        )


def uncalibrated(
    model: str, profile: DeviceProfile, target: Target, call_s: float | None = None, decision_s: float | None = None
) -> Calibration:
    """The model as the profile alone gives it; `call_s` and `decision_s` replace the estimated overheads."""
    on = machine(profile, target, call_s, decision_s)
    columns = len(FEATURES[model].columns)
    rows = Rows(np.zeros((0, columns)), np.zeros(0), np.zeros(0, np.intp), np.zeros(0))
    return Calibration(model, target, on, rows, unmeasured(FEATURES[model].prior(on)))


def features(calibration: Calibration, network: Network) -> Floats:
    """The features of each segment of a network [exits, columns]; raises UnpricedOperator."""
    on = calibration.machine
    count = counts(network, on.fusions, calibration.model, calibration.target)
    return FEATURES[calibration.model].matrix(count, on)


def correct(
    calibration: Calibration,
    networks: Sequence[Network],
    reach_s: NDArray[np.floating] | Sequence[Sequence[float]],
    weight: float = 1.0,
) -> Calibration:
    """Fit again with more measurements: `reach_s[i][k]` are the measured seconds up to exit k of network i.

    NaN marks an exit that was not measured or does not exist. `weight` counts each new network as so many: a network
    near the budget says more about the next candidates than one far away. Raises ValueError for seconds that do not
    fit the networks, and UnpricedOperator.
    """
    if len(networks) != len(reach_s):
        raise ValueError(f"{len(networks)} networks, but seconds for {len(reach_s)}; give one row of seconds for each")
    if not networks:
        return calibration
    parts = [calibration.rows]
    number = int(calibration.rows.network.max(initial=-1)) + 1
    for network, measured in zip(networks, reach_s, strict=True):
        reach = np.cumsum(features(calibration, network), axis=0)
        seconds = np.asarray(measured, np.float64)
        known = np.isfinite(seconds)
        if known[len(reach) :].any() or not known.any() or (seconds[known] <= 0).any():
            raise ValueError(
                f"measured seconds {seconds.tolist()} do not fit a network with {len(reach)} exits; give positive "
                "seconds up to each exit and NaN for those not measured"
            )
        known = known[: len(reach)]
        seconds = seconds[: len(reach)][known]
        count = len(seconds)
        parts.append(Rows(reach[: len(known)][known], seconds, np.full(count, number), np.full(count, weight)))
        number += 1
    rows = Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS))
    return replace(calibration, rows=rows, fit=fit(rows, FEATURES[calibration.model].prior(calibration.machine)))
