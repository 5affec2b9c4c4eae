"""What the control with known answers keeps: seconds of all processes that took part, and for which settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.supernet_rank_runs import Clock, Control, Settings, pooled

SETTINGS = Settings(channels=4, cells=1, epochs=1, images=10, calibration=10, networks=3, limit=100)
GENOMES = np.array([[3, 3, 3, 3, 3, 3], [0, 0, 0, 1, 0, 0], [1, 2, 3, 4, 0, 1], [0, 0, 0, 2, 0, 0]])


def control(folder: Path, settings: Settings = SETTINGS, seed: int = 0) -> Control:
    return Control(folder, folder / "no-images", GENOMES, settings, seed)


def test_images_are_means_of_squares_of_pixels() -> None:
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    found = pooled(images)
    assert found.shape == (2, 3, 2, 2) and found.dtype == np.uint8
    assert found[0, 0].tolist() == np.rint([[2.5, 4.5], [10.5, 12.5]]).tolist()


def test_seconds_of_a_part_add_up_over_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.process_time", lambda: now[0])
    clock = Clock(tmp_path / "spent.jsonl")
    now[0] = 5.0
    clock.start()
    now[0] = 7.0
    clock.book("training")
    now[0] = 1.0
    again = Clock(tmp_path / "spent.jsonl")
    now[0] = 4.0
    again.book("training")
    now[0] = 4.5
    again.book("judging")
    assert again.spent_s("training") == 5.0 and again.spent_s("training", "judging", "other") == 5.5


def test_networks_are_drawn_by_the_seed_and_kept_results_belong_to_their_settings(tmp_path: Path) -> None:
    first = control(tmp_path)
    assert np.array_equal(first.chosen, control(tmp_path).chosen) and len(set(first.chosen.tolist())) == 3
    drawn = [control(tmp_path, seed=seed).chosen.tolist() for seed in range(6)]
    assert len({tuple(rows) for rows in drawn}) > 1
    with pytest.raises(SystemExit, match="other settings"):
        control(tmp_path, replace(SETTINGS, epochs=2))
