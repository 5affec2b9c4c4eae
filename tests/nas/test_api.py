"""The project from Python: a run begun, watched, read and taken apart, and nothing printed."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import nas
from nas.process.events import Event
from nas.run.winners import load_network, standing
from tests.documents import blocks
from tests.nas.opened_runs import opened
from tests.nas.small_runs import SMALL, small, write


def test_names_are_there_and_import_nothing_heavy() -> None:
    assert set(nas.__all__) <= set(dir(nas)) and all(getattr(nas, name) is not None for name in nas.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        nas.nonsense  # noqa: B018 (asking is what is tried)
    program = "import sys, nas; print([m for m in ('numpy', 'jax', 'rich', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_experiment_is_read_from_a_file_or_from_what_one_would_hold(tmp_path: Path) -> None:
    of_file = nas.load_experiment(write(tmp_path, SMALL), ["seed=3"])
    assert of_file == nas.load_experiment(SMALL, ["seed=3"]) and of_file.seed == 3
    with pytest.raises(nas.InputError, match="did you mean 'budgets'"):
        nas.load_experiment({**SMALL, "budget": []})


def test_a_run_is_begun_watched_and_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Event] = []
    experiment = nas.load_experiment(small(search={**SMALL["search"], "evaluations": 6}))
    with caplog.at_level(logging.INFO, logger="nas"):
        run = nas.run_experiment(experiment, tmp_path / "run", progress=seen.append)
    assert capfd.readouterr() == ("", "")
    stages = [event.text for event in seen if event.kind == "stage"]
    assert stages == ["calibrate", "supernet", "search", "train", "export", "verify", "test", "report"]
    assert [f"stage {name}" for name in stages] == [r.getMessage() for r in caplog.records if "stage" in r.getMessage()]
    judged = [event for event in seen if event.text == "networks judged" and event.kind == "step"]
    assert [event.step for event in judged] == list(range(7)) and {event.total for event in judged} == {6}
    losses = [event.value for event in seen if event.text == "supernet" and event.value is not None]
    assert losses and all(np.isfinite(losses))
    begun = [event.text for event in seen if event.kind == "doing"]
    assert begun and all(text in [event.text for event in seen if event.kind == "done"] for text in begun)
    assert (
        run.verdicts.kept and len(run.trials) == 6 and {trial.key for trial in run.front} <= {t.key for t in run.trials}
    )
    assert run.network(run.trials[0].genome).key == run.trials[0].key
    again = nas.run_experiment(experiment, tmp_path / "run", resume=True)
    assert again.verdicts == run.verdicts == nas.open_run(tmp_path / "run").verdicts


def test_a_search_alone_leaves_a_front_and_no_winner(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    run = nas.open_run(tmp_path / "run")
    run.files.front.unlink()
    with pytest.raises(nas.InputError, match="the search has not come to its end"):
        run.front  # noqa: B018 (asking is what is tried)
    found = nas.search_experiment(run.experiment, run.path, resume=True)
    assert found.front


def test_a_run_is_verified_again(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    run = nas.open_run(tmp_path / "run")
    looks = run.verdicts.looks
    assert nas.verify_run(run).looks == looks + 1


def test_what_cannot_be_is_one_error(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(nas.InputError, match="is not a run"):
        nas.open_run(tmp_path)
    with pytest.raises(
        nas.InputError, match=r"budget 'fast' has no winner: there is no such budget; this run has worst"
    ):
        nas.load_winner(finished, "fast")


@pytest.mark.parametrize("budget", ["worst", "mean"])
def test_a_winner_is_the_network_that_was_trained(budget: str, finished: Path) -> None:
    images = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)
    with opened(finished) as context:
        winner = standing(context)[0][budget]
        _, weights = load_network(context, winner)
    model = nas.load_winner(finished, budget)
    assert isinstance(model, nnx.Module)
    assert {name: np.asarray(value).tobytes() for name, value in model.weights().items()} == {
        name: value.tobytes() for name, value in weights.items()
    }
    assert all(logits.shape == (3, 10) for logits in model(jnp.asarray(images)))


@pytest.mark.slow
def test_a_winner_is_fine_tuned_as_the_documents_show_it(finished: Path, tmp_path: Path) -> None:
    """On random images, which it learns by heart."""
    (block,) = [block for block in blocks("python") if block.name == "tune.py"]
    assert len(block.text[block.text.index("    model =") :].splitlines()) <= 15
    tune: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), tune)
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((32, 1, 8, 8)).astype(np.float32), rng.integers(0, 10, 32)

    def loss(model: Any) -> float:
        logits = model(jnp.asarray(images), "train")[-1]
        return float(optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean())

    run = nas.open_run(finished)
    model = tune["fine_tune"](run, "worst", [(images, labels)] * 30, 1e-2)
    assert isinstance(model, nnx.Module) and loss(model) < loss(nas.load_winner(run, "worst")) / 2
