"""A latency model of one's own: seconds by what is moved, not by what is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from latency_models.features import CALLS, Counts, FeatureSet, Machine, Prior
from latency_models.roofline import LinearModel


def matrix(count: Counts, on: Machine) -> Any:
    """Bytes moved, kernels and calls of each segment [exits, 3]."""
    moved = count.activation_bytes * on.batch + count.weight_bytes
    kernels = np.bincount(count.segment, minlength=count.exits)
    return np.stack([np.bincount(count.segment, moved, count.exits), kernels, np.ones(count.exits)], axis=1)


def prior(on: Machine) -> Prior:
    """Seconds of each, from the profile; -1: not wrong by a common factor."""
    mean = np.array([1 / on.bytes_per_s, on.launch_s, on.call_s])
    return Prior(mean, std=3 * mean, factor=np.array([0, -1, -1]))


class Traffic(LinearModel):
    """Linear in bytes, kernels and calls."""

    features = FeatureSet("traffic", ("bytes", "kernels", CALLS), matrix, prior)
