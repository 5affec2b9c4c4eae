"""Opening a run: the experiment it began with, seeds, and what is refused before anything is done."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import yaml

from nas.config import parse
from nas.errors import InputError
from nas.process.events import Voice
from nas.process.facts import Facts
from nas.run import opening
from nas.run.folder import RunFolder
from nas.run.layout import ENVIRONMENT, EXPERIMENT
from nas.run.opening import materials, open_context
from tests.documents import names_in, rows, sections
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


def test_a_run_notes_what_its_machine_is_like_and_warns_of_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Facts("g++ 12", "cpu", 2, 8, "powersave", "NVIDIA H100")
    monkeypatch.setattr(opening, "facts_here", lambda: here)
    experiment, said = parse.experiment(small()), list[str]()
    found = materials(experiment)
    voice = Voice(lambda event: said.append(event.text) if event.kind == "warning" else None)
    for resume in (False, True):
        with RunFolder.open(tmp_path / "run", resume=resume) as folder:
            open_context(experiment, found, folder, voice)
    assert said == list(here.warnings) and len(said) == 2
    assert json.loads((tmp_path / "run" / ENVIRONMENT).read_text())["facts"] == asdict(here)


def test_the_facts_of_a_machine_are_described() -> None:
    (row,) = (row for row in rows(sections("run_folder.md")["environment.json"]) if row[0] == "`facts`")
    assert {field.name for field in fields(Facts)} <= set(names_in(row[1]))


def test_a_batch_that_is_larger_than_the_data_is_refused_before_anything_is_done() -> None:
    for section in ("supernet", "winners"):
        experiment = parse.experiment(small(**{section: {"batch_size": 1064}}))
        with pytest.raises(InputError, match=rf"{section}\.batch_size is 1064, but only 1063 images"):
            materials(experiment)
