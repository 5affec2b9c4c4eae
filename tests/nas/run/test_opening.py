"""Opening a run: the experiment it began with, seeds, and what is refused before anything is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from nas.config import parse
from nas.errors import InputError
from nas.process.events import Voice
from nas.run.folder import RunFolder
from nas.run.layout import EXPERIMENT
from nas.run.opening import materials, open_context
from tests.nas.opened_runs import opened
from tests.nas.small_runs import small


def test_an_experiment_of_an_older_release_is_the_same_experiment(run: Path) -> None:
    """What it does not mention has its default."""
    data = yaml.safe_load((run / EXPERIMENT).read_text())
    del data["supernet"]["augment"], data["winners"]["training"], data["splits"]["val"], data["latency_model"]
    (run / EXPERIMENT).write_text(yaml.safe_dump(data))
    with RunFolder.open(run, resume=True) as folder:
        experiment = parse.experiment(small())
        assert open_context(experiment, materials(experiment), folder, Voice()).experiment == experiment


def test_seeds_derive_from_what_they_are_for(run: Path) -> None:
    with opened(run) as context:
        assert context.seed("a", "b") == context.seed("a", "b") != context.seed("ab")
        other = replace(context, experiment=replace(context.experiment, seed=1))
        assert other.seed("a", "b") != context.seed("a", "b")


def test_a_batch_that_is_larger_than_the_data_is_refused_before_anything_is_done() -> None:
    for section in ("supernet", "winners"):
        experiment = parse.experiment(small(**{section: {"batch_size": 1064}}))
        with pytest.raises(InputError, match=rf"{section}\.batch_size is 1064, but only 1063 images"):
            materials(experiment)
