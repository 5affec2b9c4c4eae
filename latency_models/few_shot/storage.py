"""A learned prior in a file: npz without pickle, from which the same predictions come."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from latency_models.arrays import read_arrays, understood
from latency_models.few_shot.conformal import MEASURED, ConformalFactors
from latency_models.few_shot.encoding import Encoding
from latency_models.few_shot.irregular import Irregular
from latency_models.few_shot.prior import DevicePrior
from latency_models.few_shot.regression import SETTINGS
from latency_models.few_shot.sources import Sources

SCHEMA: Final = 1


def save(prior: DevicePrior, file: str | Path | BinaryIO) -> None:
    """Write everything that `load` needs."""
    encoding, sources, conformal = prior.encoding, prior.sources, prior.conformal
    header = {
        "schema": SCHEMA,
        "kind": encoding.kind,
        "width": encoding.width,
        "shared": sources.shared,
        "op_names": prior.op_names,
        "devices": prior.devices,
        "settings": SETTINGS,
        "measured": MEASURED,
    }
    arrays: dict[str, NDArray[np.generic]] = {
        "position": encoding.position,
        "value": encoding.value,
        "group": encoding.group,
        "scale": encoding.scale,
        "cost": sources.cost,
        "weight": sources.weight,
        "columns": sources.irregular.columns,
        "weights": sources.irregular.weights,
        "below": conformal.below,
        "above": conformal.above,
        "log_prior": conformal.log_prior,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
    if isinstance(file, str | Path):
        Path(file).write_bytes(buffer.getvalue())
    else:
        file.write(buffer.getvalue())


def load(file: str | Path | BinaryIO) -> DevicePrior:
    """Read what `save` wrote; raises ValueError for a foreign file or one of another schema."""
    with understood(f"{file}: is not a stored prior of devices"):
        a = read_arrays(file)
        header = json.loads(str(a["header"]))
        if header["schema"] != SCHEMA:
            raise ValueError(f"schema {header['schema']}; this release reads {SCHEMA}")
        if [tuple(s) for s in header["settings"]] != list(SETTINGS) or tuple(header["measured"]) != MEASURED:
            raise ValueError("it was learned with other settings than this release has; learn it again")
        encoding = Encoding(header["kind"], header["width"], a["position"], a["value"], a["group"], a["scale"])
        irregular = Irregular(encoding, a["columns"], a["weights"])
        sources = Sources(encoding, a["cost"], irregular, a["weight"], header["shared"])
        conformal = ConformalFactors(a["below"], a["above"], a["log_prior"])
        names = (tuple(header.get(name, ())) for name in ("op_names", "devices"))
        return DevicePrior(encoding, sources, conformal, *names)
