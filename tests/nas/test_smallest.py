"""The smallest experiments: a space of exactly one network, and validation parts of one image and of two."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.exits.cross_fit import DOUBT, CrossFitted, cross_fitted
from nas.exits.placement import best_placement, placed_answers
from nas.exits.scores import Scores
from nas.exits.thresholds import last_exit, within_on_others
from nas.run.layout import RunFiles
from nas.run.trial import load_batches
from nas.run.verdict_files import load_verdicts
from nas.search import winner_readings
from nas.search.shrinkage import estimates
from nas.searchers import SEARCHERS
from nas.supernet.elastic import Supernet
from search_spaces.mobile import Stage, mobile
from search_spaces.slots import random_genomes
from tests.nas.search.test_shrinkage import SPACE, trials
from tests.nas.small_runs import Command, small, write

#: Of 1,438 images to train on.
VAL_OF_ONE, VAL_OF_TWO = 0.0007, 0.0014
ONE_STAGE: dict[str, Any] = {
    "widths": [8], "depths": [1], "stride": 2, "options": {"kernel": [3], "expansion": [1], "se": [False]},
}  # fmt: skip
OPTIMISED = {"optimiser": {"name": "differentiable", "steps": 3}}
ONE_NETWORK = {"name": "mobile", "max_exits": 0, "stages": [ONE_STAGE]}


def smallest(**sections: Any) -> dict[str, Any]:
    """One network, judged on two images and not trained as a winner."""
    return small(
        **{
            "space": ONE_NETWORK,
            "splits": {"val": VAL_OF_TWO},
            "budgets": [{"name": "mean", "latency": "200 ms", "of": "expected"}],
            "supernet": {"epochs": 1, "random_subnets": 1},
            "winners": {"epochs": 0, "candidates": 1, "attempts": 1},
            **sections,
        }
    )


def test_one_network_judged_on_two_images_runs_to_its_end(
    nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winner_readings, "GAP_S", 0.0)
    assert nas("run", write(tmp_path, smallest()), "--out", "run").code == 0
    files = RunFiles(tmp_path / "run")
    (trial,) = [trial for batch in load_batches(files.trials) for trial in batch]
    assert trial.genome == () and [at and at.images for at in trial.budgets] == [2]
    verdicts = load_verdicts(files)
    assert verdicts.kept and [verdict.genome for verdict in verdicts.winners] == [()]
    assert "<h1" in (tmp_path / "run/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"splits": {"val": VAL_OF_ONE}}, "too few for the part 'val', which needs 2 and gets 1"),
        ({"search": OPTIMISED, "splits": {"reserve": ["arch"]}}, "has one network and nothing to decide"),
    ],
)
def test_what_one_image_or_one_network_cannot_tell_is_refused_before_anything_is_written(
    command: str, sections: dict[str, Any], message: str, nas: Command, tmp_path: Path
) -> None:
    out = ("--out", "run") if command == "run" else ()
    assert message in nas(command, write(tmp_path, smallest(**sections)), *out).error
    assert not (tmp_path / "run").exists()


@dataclass(frozen=True)
class One:
    """A problem of one genome, which has no genes or genes without a choice."""

    genes: int
    seed: int = 0

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.ones(self.genes, np.int64)

    @property
    def ordinal(self) -> NDArray[np.bool_]:
        return np.ones(self.genes, np.bool_)

    def canonical(self, genomes: NDArray[np.int64]) -> NDArray[np.int64]:
        return genomes

    def free_objectives(self, genomes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.ones((len(genomes), 1)), np.zeros((len(genomes), 1))


@pytest.mark.parametrize("genes", [0, 1, 3])
@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_a_searcher_asks_for_the_only_network_once(name: str, genes: int) -> None:
    if name.startswith("optuna_"):
        pytest.importorskip("optuna")
    module, kind = SEARCHERS[name].split(":")
    searcher = getattr(import_module(module), kind)(One(genes))
    asked = searcher.ask(5)
    assert asked.tolist() == [[0] * genes]
    searcher.tell(asked, np.ones((1, 2)), np.zeros((1, 1)))
    assert searcher.ask(5).shape == (0, genes)


def test_the_only_network_has_shared_weights() -> None:
    options: dict[str, tuple[Any, ...]] = {"kernel": (3,), "expansion": (1,), "se": (False,)}
    space = mobile((1, 8, 8), 10, stages=(Stage((8,), (1,), 2, options),), max_exits=0)
    genomes = random_genomes(space, 3, np.random.default_rng(0))
    assert genomes.shape == (3, 0) and len(Supernet(space).choices(genomes).legal) == 3


@pytest.mark.parametrize("images", [2, 3, 4, 6])
@pytest.mark.parametrize("exits", [1, 2, 4])
def test_thresholds_are_solved_and_judged_on_a_few_images(images: int, exits: int) -> None:
    rng = np.random.default_rng(images)
    found = Scores(rng.random((images, exits)), rng.random((images, exits)) < 0.7)
    cost = np.linspace(0.5, 1, exits)
    for limit_s in (0.5, 0.7, 1.0):
        best = CrossFitted.of(found, cost).best(limit_s)
        assert best is None or (best[1].shape == (images,) and best[0].accuracy == best[1].mean())
        settled = cross_fitted(found, lambda part, limit_s=limit_s: within_on_others(part, cost, limit_s, DOUBT))
        assert settled.shape == (images,)
    assert cross_fitted(found, lambda part: last_exit(part.correct, cost)).tolist() == found.correct[:, -1].tolist()
    arguments = np.linspace(0.3, 0.8, exits), np.full(exits, 0.05), 2.0, 2, DOUBT
    assert best_placement(found, *arguments) is not None
    assert placed_answers(found, *arguments).shape == (images,)


@pytest.mark.parametrize("images", [2, 3])
@pytest.mark.parametrize("networks", [1, 2, 12])
def test_networks_are_ranked_by_two_images(images: int, networks: int) -> None:
    found = estimates(SPACE, trials(0, images, n=networks)[0], (), 0)
    assert found.accuracy.shape == (networks,) and np.isfinite(found.accuracy).all()
