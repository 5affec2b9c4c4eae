"""Whole runs with a latency model of one's own, which satisfies the protocol and derives from nothing of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models.untabled import Untabled
from nas.config.budget import Budget
from nas.config.component import ComponentSpec
from nas.config.settings import Experiment, SearchSettings
from nas.run.layout import RunFiles
from nas.run.trial import load_batches
from nas.run.verdict_files import load_verdicts
from nas.search.problem import BudgetProblem
from search_spaces.mobile import mobile
from search_spaces.slots import random_genomes
from tests.nas.small_runs import Command, small, write
from tests.nas.testing import modules


@pytest.mark.parametrize("name", [pytest.param("Untabled", marks=pytest.mark.slow), "Tabled"])
def test_a_run_comes_to_its_end(name: str, nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "their_latency", raising=False)
    Path("their_latency.py").write_text(modules.LATENCY)
    data = small(latency_model={"name": f"their_latency:{name}", "overhead": 2e-5})
    done = nas("run", write(tmp_path, data), "--out", "run", "--plugins", "their_latency")
    assert done.code == 0, done
    trials = [trial for batch in load_batches(Path("run/trials.jsonl")) for trial in batch]
    assert len(trials) == 12 and all(trial.status == "complete" for trial in trials)
    verdicts = load_verdicts(RunFiles(Path("run")))
    assert [verdict.kept for verdict in verdicts.winners] == [True, True]
    assert all(verdict.predicted_std_s for verdict in verdicts.winners)
    stored = json.loads(Path("run/latency_model.npz").read_text())
    assert len(stored["numbers"]["logs"]) == 4, "the calibration was not fitted"
    # The search and the choice of winners are derived again from the files.
    Path("run/front.json").unlink()
    before = Path("run/trials.jsonl").read_bytes()
    assert nas("run", "experiment.yaml", "--out", "run", "--resume", "--plugins", "their_latency").code == 0
    assert Path("run/trials.jsonl").read_bytes() == before
    del sys.modules["their_latency"]


def test_predictions_one_by_one_screen_like_tables() -> None:
    """The same model with and without tables gives the same seconds, violations and positions of exits."""
    from latency_models.roofline import Roofline

    space, target = mobile((1, 8, 8), 10, "8x8", max_exits=2), Target("rpi4b", "onnxruntime")
    model, nothing = Roofline(load("rpi4b"), target), ComponentSpec("x", "x:x", {})
    tables = model.additive(space)
    assert tables is not None
    budgets = (Budget(2e-4, "worst_case", "worst"), Budget(1e-4, "expected", "mean"))
    settings = SearchSettings(nothing, nothing, nothing)
    experiment = Experiment("x", nothing, nothing, target, budgets, nothing, settings, nothing)
    one, other = (
        BudgetProblem(space, experiment, {target: seconds}, {target: 0.1}, seed=0)
        for seconds in (tables, Untabled(space, model))
    )
    genomes = random_genomes(space, 60, np.random.default_rng(0))
    for _ in range(2):
        for found, wanted in zip(other.free_objectives(genomes), one.free_objectives(genomes), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(Untabled(space, model).cumulative_s(genomes), tables.cumulative_s(genomes), rtol=1e-9)
    assert one.free_objectives(genomes[:0])[1].shape == other.free_objectives(genomes[:0])[1].shape == (0, 2)
