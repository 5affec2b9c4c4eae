"""Accuracies as a tabular benchmark has them, invented: the shipped latencies have no such file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latency_models.table import nb201


@pytest.fixture(scope="session")
def accuracies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Accuracies in percent for every row of the shipped table: what takes longer on a Raspberry Pi is better."""
    slowness = np.argsort(np.argsort(nb201().column("raspi4")))
    noise = np.random.default_rng(0).normal(0, 2, len(slowness))
    path = tmp_path_factory.mktemp("accuracies") / "accuracies.npz"
    np.savez(path, test_acc=np.clip(60 + 30 * slowness / len(slowness) + noise, 0, 100))
    return path
