"""Search, on copies of a finished run: it goes on where it was cut off, and ends where the space does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.config import parse
from nas.config.kinds import SEARCHER
from nas.errors import InputError
from nas.process.files import read_json
from nas.run.trial import Trial, load_batches
from nas.stages import search
from search_spaces.slots import sizes
from tests.nas.opened_runs import opened, rewind
from tests.nas.small_runs import SMALL, Command, small, write


@pytest.mark.parametrize(
    ("lines", "torn"), [(0, b'{"batch":0,"slo'), (3, b""), (5, b'{"batch":1,"slo'), (7, b'{"'), (11, b"{"), (12, b"")]
)
def test_a_search_that_was_cut_off_anywhere_goes_on_to_the_same_end(
    run: Path, finished: Path, lines: int, torn: bytes
) -> None:
    whole = (run / "trials.jsonl").read_bytes()
    (run / "trials.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]) + torn)
    (run / "front.json").unlink()
    with opened(run) as context:
        search.search(context)
    assert (run / "trials.jsonl").read_bytes() == whole
    assert (run / "front.json").read_bytes() == (finished / "front.json").read_bytes()


def test_a_search_ends_when_the_space_is_exhausted(run: Path) -> None:
    rewind(run, "supernet")
    with opened(run) as context:
        settings = replace(context.experiment.search, evaluations=1000)
        search.search(replace(context, experiment=replace(context.experiment, search=settings)))
        keys = [trial.key for batch in load_batches(run / "trials.jsonl") for trial in batch]
        grid = np.stack(np.unravel_index(np.arange(np.prod(sizes(context.space))), tuple(sizes(context.space))), axis=1)
        assert len(keys) == len(set(keys)) == len(np.unique(context.space.canonical(grid), axis=0))


def test_a_log_that_the_searcher_would_not_have_written_is_refused(run: Path) -> None:
    (run / "front.json").unlink()
    with opened(run) as context:
        settings = replace(context.experiment.search, searcher=parse.component("random", SEARCHER, "search.searcher"))
        other = replace(context.experiment, seed=1, search=settings)
        with pytest.raises(InputError, match=r"trials\.jsonl holds other genomes in batch 0 than searcher random asks"):
            search.search(replace(context, experiment=other))
        # What a percentile is about has changed, and so what is asked for.
        late = replace(other, budgets=(replace(other.budgets[0], of="p95"), *other.budgets[1:]))
        with pytest.raises(InputError, match=r"or an older release began it, for which all calls of a percentile pass"):
            search.search(replace(context, experiment=late))


def test_networks_are_chosen_by_their_balanced_accuracy_where_that_is_asked_for(run: Path, nas: Command) -> None:
    rewind(run, "supernet")
    before = (run / "supernet.safetensors").read_bytes()
    objectives = ["balanced_accuracy", "worst_case_latency"]
    experiment = write(run, small(search={**SMALL["search"], "objectives": objectives}))
    assert nas("search", experiment, "--out", str(run), "--resume").code == 0
    trials = [trial for batch in load_batches(run / "trials.jsonl") for trial in batch]
    assert any(trial.metrics["balanced_accuracy"] != trial.metrics["accuracy"] for trial in trials)
    for trial in trials:
        at = trial.budgets[0]
        assert at is not None and abs(at.accuracy - trial.metrics["final_accuracy"]) < 0.1
        if trial.metrics["exits"] == 1:
            assert at.accuracy == trial.metrics["balanced_accuracy"]
    assert any(trial.budgets[0].accuracy != trial.metrics["final_accuracy"] for trial in trials if trial.budgets[0])
    for candidates in read_json(run / "front.json", "")["budgets"].values():
        found = [Trial.from_json(record) for record in candidates]
        for number in {trial.batch for trial in found}:
            worth = [at.accuracy for trial in found if (at := trial.budgets[number]) is not None]
            assert worth == sorted(worth, reverse=True)
    assert (run / "supernet.safetensors").read_bytes() == before
