"""Train: which winners are trained, and how often."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nas.run.context import Context
from nas.run.winners import Winner
from nas.search.selection import choose
from nas.stages import train
from tests.nas.opened_runs import opened, untrained


def test_a_network_that_wins_two_budgets_is_trained_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(run) as context:
        found, _ = choose(context)
        both = {name: replace(found["worst"], budget=found[name].budget) for name in ("worst", "mean")}
        trained: list[str] = []

        def once(context: Context, winner: Winner) -> None:
            trained.append(winner.trial.key)
            untrained(context, winner)

        shutil.rmtree(run / "winners")
        monkeypatch.setattr(train, "choose", lambda context: (both, {}))
        monkeypatch.setattr(train, "_train", once)
        for name in both:
            (run / "winners" / name).mkdir(parents=True)
        train.train_winners(context)
        assert trained == [found["worst"].trial.key]
        one, other = ((run / "winners" / name / "weights.safetensors").read_bytes() for name in both)
        assert one == other
