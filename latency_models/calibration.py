"""A calibration: the measurements of one target, the machine they were read against, and what was fitted to them.

It is all that a prediction needs, so a run folder that stores it predicts the same seconds later, whatever the profile
says by then. New measurements are added by fitting again with more rows.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import DeviceProfile, Target
from latency_models.arrays import read_arrays, understood
from latency_models.base import Floats
from latency_models.errors import UnpricedOperator
from latency_models.features import CALLS, DECISIONS, FEATURES, KERNELS, FeatureSet, Machine, Prior, counts, machine
from latency_models.kernels import KernelTable, signature
from latency_models.linear import Fit, Rows, fit, fit_either, unmeasured, unseen
from latency_models.sheets import SheetError, sheet_error
from search_spaces.ir import Network
from search_spaces.passes import OP_CLASSES, Kernel

SCHEMA: Final = 2
#: What this version reads; files of schema 1 do not name their columns, which were these.
_READ: Final = (1, 2)
_COLUMNS_OF_SCHEMA_1: Final = {
    "roofline": (*OP_CLASSES, KERNELS, CALLS, DECISIONS),
    "flops": ("macs", CALLS),
}
_ARRAYS: Final = ("features", "seconds", "network", "weight")


@dataclass(frozen=True, eq=False)
class Calibration:
    """The fitted coefficients of `features` on `target`, and the rows behind them.

    `table` holds the seconds of kernels measured alone, for a model that looks them up. `prior` is what the
    calibrations of `same_family`, keys of their targets, say of the coefficients; None where there are none. `sheet` is
    how far sheets like this one are off, which counts where nothing was measured; None in files of earlier releases.
    """

    features: FeatureSet
    target: Target
    machine: Machine
    rows: Rows
    fit: Fit
    table: KernelTable | None = None
    prior: Prior | None = None
    same_family: tuple[str, ...] = ()
    sheet: SheetError | None = None

    @property
    def model(self) -> str:
        """The latency model that this is a calibration of, by the name of its features."""
        return self.features.name

    @property
    def networks(self) -> int:
        """Number of networks measured; 0 for an uncalibrated model."""
        return self.rows.networks

    @property
    def devices(self) -> int:
        """Number of other devices that say how long an uncalibrated one takes; 0 where none do, or it was measured."""
        if self.networks or self.sheet is None or not self.sheet.devices:
            return 0
        return len(self.same_family) or self.sheet.devices

    @cached_property
    def unseen(self) -> Floats:
        """What the error of each coefficient lacks that the rows say nothing of; see `linear.unseen`."""
        return unseen(self.rows, self.features.prior(self.machine), self.fit, self.sheet)

    @property
    def coefficients(self) -> dict[str, float]:
        """Coefficients by name: factors on roofline seconds by op class, the rest in seconds each."""
        return dict(zip(self.features.columns, self.fit.coefficients.tolist(), strict=True))

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write everything as npz without pickle."""
        header = {
            "schema": SCHEMA,
            "model": self.model,
            "columns": self.features.columns,
            "freedom": None if math.isinf(self.fit.degrees_of_freedom) else self.fit.degrees_of_freedom,
            "target": asdict(self.target),
            "machine": asdict(self.machine),
            "sheet": None if self.sheet is None else asdict(self.sheet),
        }
        arrays = {name: getattr(self.rows, name) for name in _ARRAYS}
        if self.table is not None:
            arrays |= self.table.to_arrays()
        if self.prior is not None:
            header["relatives"] = self.same_family
            arrays |= {"prior_mean": self.prior.mean, "prior_std": self.prior.std}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            header=np.array(json.dumps(header)),
            coefficients=self.fit.coefficients,
            covariance=self.fit.covariance,
            noise=np.array(self.fit.noise),
            **arrays,
        )
        if isinstance(file, str | Path):
            Path(file).write_bytes(buffer.getvalue())
        else:
            file.write(buffer.getvalue())

    @staticmethod
    def load(file: str | Path | BinaryIO, own: FeatureSet | None = None) -> Calibration:
        """Read what `save` wrote; predictions are the same.

        `own` are the features of the model that asks; without them one of FEATURES is taken. Raises ValueError for
        another schema, another model's file or a foreign one.
        """
        with understood(f"{file}: is not a stored latency model"):
            arrays = read_arrays(file)
            header = json.loads(str(arrays["header"]))
            schema, model = header["schema"], header.get("model", "")
        if schema not in _READ:
            known = " and ".join(map(str, _READ))
            raise ValueError(f"{file}: a latency model of schema {schema}; this release reads {known}")
        features = FEATURES.get(model) if own is None else own
        if features is None:
            raise ValueError(f"{file}: is of latency model {model!r}, which is not among {', '.join(sorted(FEATURES))}")
        if features.name != model:
            raise ValueError(f"{file}: the calibration is of latency model {model!r}, not of {features.name!r}")
        columns = header.get("columns") or _COLUMNS_OF_SCHEMA_1.get(model, features.columns)
        if missing := set(columns) - set(features.columns):
            raise ValueError(f"{file}: has the column {min(missing)!r}, which latency model {model!r} lacks now")
        with understood(f"{file}: is not a stored latency model"):
            return _stored(features, header, arrays, [features.columns.index(column) for column in columns])


def _stored(
    features: FeatureSet, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], place: Sequence[int]
) -> Calibration:
    """The calibration of a file whose columns stand at `place` among those of the model."""
    description = dict(header["machine"])
    for name in ("flops_per_s", "fusions"):
        description[name] = tuple(description[name])
    width = len(features.columns)
    covariance = np.zeros((width, width))
    covariance[np.ix_(place, place)] = arrays["covariance"]
    rows = {name: arrays[name] for name in _ARRAYS}
    rows["features"] = _spread(rows["features"], place, width)
    coefficients = _spread(arrays["coefficients"], place, width)
    on = Machine(**description)
    return Calibration(
        features=features,
        target=Target(**header["target"]),
        machine=on,
        rows=Rows(**rows),
        fit=Fit(coefficients, covariance, float(arrays["noise"]), header.get("freedom") or math.inf),
        table=KernelTable.of_arrays(arrays),
        prior=_stored_prior(features.prior(on), arrays, place),
        same_family=tuple(header.get("relatives", ())),
        sheet=None if header.get("sheet") is None else SheetError(**header["sheet"]),
    )


def _spread(values: Floats, place: Sequence[int], width: int) -> Floats:
    """Values [..., stored columns] at their places among `width` columns; what was not stored is 0."""
    wide = np.zeros((*values.shape[:-1], width))
    wide[..., place] = values
    return wide


def _stored_prior(own: Prior, arrays: Mapping[str, NDArray[Any]], place: Sequence[int]) -> Prior | None:
    """The prior of a file, the model's `own` for columns that it lacks; None where it has none."""
    if "prior_mean" not in arrays:
        return None
    mean, std = own.mean.copy(), own.std.copy()
    mean[place], std[place] = arrays["prior_mean"], arrays["prior_std"]
    return Prior(mean, std, own.factor)


def uncalibrated(
    features: FeatureSet,
    profile: DeviceProfile,
    target: Target,
    call_s: float | None = None,
    decision_s: float | None = None,
    table: KernelTable | None = None,
) -> Calibration:
    """The model as the profile alone gives it, corrected by how far such profiles are off.

    `call_s` and `decision_s` replace the estimated overheads of the machine.
    """
    on = machine(profile, target, call_s, decision_s)
    columns = len(features.columns)
    rows = Rows(np.zeros((0, columns)), np.zeros(0), np.zeros(0, np.intp), np.zeros(0))
    sheet = sheet_error(features.name, profile, target)
    return Calibration(features, target, on, rows, unmeasured(features.prior(on), sheet), table, sheet=sheet)


def features_of(calibration: Calibration, network: Network) -> Floats:
    """The features of each segment of a network [exits, columns]; raises UnpricedOperator."""
    on = calibration.machine
    price = None if calibration.table is None else partial(_looked_up, calibration, calibration.table)
    count = counts(network, on.fusions, calibration.model, calibration.target, on.channel_block, price)
    return calibration.features.matrix(count, on)


def _looked_up(calibration: Calibration, table: KernelTable, network: Network, kernel: Kernel) -> float:
    seconds = table.price(signature(network, kernel))
    if seconds is None:
        head = network.by_name[kernel.ops[0]]
        remedy = "the table has no kernel like it: measure the kernels of the space that is priced"
        raise UnpricedOperator(head.name, head.kind, calibration.model, calibration.target, remedy)
    return seconds


def correct(
    calibration: Calibration,
    networks: Sequence[Network],
    cumulative_s: NDArray[np.floating] | Sequence[Sequence[float]],
    weight: float = 1.0,
) -> Calibration:
    """Fit again with more measurements: `cumulative_s[i][k]` are the measured seconds up to exit k of network i.

    NaN marks an exit that was not measured or does not exist. `weight` counts each new network as so many: a network
    near the budget says more about the next candidates than one far away. Raises ValueError for seconds that do not
    fit the networks, and UnpricedOperator.
    """
    if len(networks) != len(cumulative_s):
        raise ValueError(
            f"{len(networks)} networks, but seconds for {len(cumulative_s)}; give one row of seconds for each"
        )
    if not networks:
        return calibration
    parts = [calibration.rows]
    number = int(calibration.rows.network.max(initial=-1)) + 1
    for network, measured in zip(networks, cumulative_s, strict=True):
        cumulative = np.cumsum(features_of(calibration, network), axis=0)
        seconds = np.asarray(measured, np.float64)
        known = np.isfinite(seconds)
        if known[len(cumulative) :].any() or not known.any() or (seconds[known] <= 0).any():
            raise ValueError(
                f"measured seconds {seconds.tolist()} do not fit a network with {len(cumulative)} exits; give positive "
                "seconds up to each exit and NaN for those not measured"
            )
        known = known[: len(cumulative)]
        seconds = seconds[: len(cumulative)][known]
        count = len(seconds)
        parts.append(Rows(cumulative[: len(known)][known], seconds, np.full(count, number), np.full(count, weight)))
        number += 1
    rows = Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS))
    return fitted(calibration, rows)


def fitted(calibration: Calibration, rows: Rows) -> Calibration:
    """The calibration with these rows; a prior from same-family devices is used unless left-out networks speak against
    it."""
    own = calibration.features.prior(calibration.machine)
    prior = calibration.prior
    if not rows.networks:
        return replace(calibration, rows=rows, fit=_uncalibrated(calibration.sheet, own, prior))
    return replace(calibration, rows=rows, fit=fit(rows, own) if prior is None else fit_either(rows, prior, own))


def _uncalibrated(sheet: SheetError | None, own: Prior, prior: Prior | None) -> Fit:
    """The fit to nothing; what same-family devices were measured at has their bias in it already."""
    if prior is None:
        return unmeasured(own, sheet)
    return unmeasured(prior, None if sheet is None else replace(sheet, median=1.0))
