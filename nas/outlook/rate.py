"""How fast does this machine train? What its last long training reached, or else a share of what numpy reaches."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nas.process.cache import cache_home
from nas.process.files import RunFolderError, atomic_write_json
from nas.run.machine import machine

SCHEMA: Final = 1
#: A training shorter than that says more of compiling than of training.
LEARN_FROM_S: Final = 30.0
#: The share of numpy's matrix products that small networks reach when they are trained.
_SHARE: Final = 0.1
_SIDE: Final = 384
_MEASURED_FOR_S: Final = 0.3
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rate:
    """Floating-point operations of training per second, and how they are known."""

    flops_per_s: float
    basis: str


def training_rate() -> Rate:
    """The rate of this machine: what was noted, or a figure that numpy gives in under a second, noted for later."""
    noted = _noted()
    if noted is not None:
        return noted
    rate = Rate(_SHARE * _products_per_s(), "a short test of this machine")
    _note(rate)
    return rate


def learn(flops: float, seconds: float) -> None:
    """Note what a training of so many operations took; nothing where it was too short to say anything."""
    if seconds >= LEARN_FROM_S and flops > 0:
        _note(Rate(flops / seconds, "the last training of shared weights on this machine"))


def rate_file() -> Path:
    """Where the rate is noted."""
    return cache_home() / "training_rate.json"


def _noted() -> Rate | None:
    try:
        record = json.loads(rate_file().read_text(encoding="utf-8"))
        found = Rate(float(record["flops_per_s"]), str(record["basis"]))
        of_here = record["schema"] == SCHEMA and record["machine"] == machine()
    except (OSError, ValueError, TypeError, KeyError):  # none yet, or another release's: it is measured anew
        return None
    return found if of_here and math.isfinite(found.flops_per_s) and found.flops_per_s > 0 else None


def _note(rate: Rate) -> None:
    record = {"schema": SCHEMA, "machine": machine(), "flops_per_s": rate.flops_per_s, "basis": rate.basis}
    try:
        atomic_write_json(rate_file(), record)
    except RunFolderError as error:  # a home that cannot be written costs a second the next time, and no run
        _LOG.info("the training rate is not noted: %s", error)


def _products_per_s() -> float:
    """Operations per second of numpy's products of matrices in float32, with as many threads as it takes."""
    left = np.random.default_rng(0).standard_normal((_SIDE, _SIDE)).astype(np.float32)
    out = np.empty_like(left)
    np.matmul(left, left, out=out)
    best_s, end = math.inf, time.perf_counter() + _MEASURED_FOR_S
    while time.perf_counter() < end:
        begun = time.perf_counter()
        np.matmul(left, left, out=out)
        best_s = min(best_s, time.perf_counter() - begun)
    return float(2 * _SIDE**3 / best_s)
