"""`nas check` on parts that somebody else wrote: what holds is said, what is broken is one clear error."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas import testing
from nas.errors import InputError
from nas.testing.space_runs import combinations_share_weights, every_choice_runs
from tests.nas.small_runs import Command, small, write
from tests.nas.testing import modules, more_modules

#: The modules by the names that they are written under.
TEXTS = {
    "their_latency": modules.LATENCY,
    "their_searchers": modules.SEARCHERS,
    "their_optimisers": more_modules.OPTIMISERS,
    "their_heads": more_modules.HEADS,
}


@pytest.fixture(autouse=True)
def theirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Their modules in the working directory, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    for name, text in TEXTS.items():
        Path(f"{name}.py").write_text(text)
    yield
    for name in TEXTS:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("subject", "laws"),
    [
        ("nsga2", 13),
        ("flops", 14),
        ("their_latency:Untabled", 14),
        ("their_latency:Tabled", 14),
        ("their_optimisers:Sound", 7),
    ],
)
def test_what_keeps_its_laws_is_told_each_of_them(subject: str, laws: int, nas: Command) -> None:
    done = nas("check", subject)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) == laws == len(testing.laws_of(_kind(subject)))
    assert all(line.startswith("ok ") for line in lines)


def _kind(subject: str) -> str:
    if named := testing.kind_of_name(subject):
        return named
    module, _, name = subject.partition(":")
    return testing.kind_of(getattr(importlib.import_module(module), name), subject)


@pytest.mark.parametrize(
    ("subject", "law", "seen"),
    [
        ("their_searchers:Silent", "as_many_as_wanted", "ask(0) returned None; return a numpy array of integers"),
        ("their_searchers:Raising", "as_many_as_wanted", "it raised TypeError: unhashable type: 'list' (line "),
        ("their_searchers:Unsaid", "it_says_whether_it_wants_a_prior", "it has no `wants_prior`; write"),
        ("their_searchers:Wanting", "it_says_whether_it_wants_a_prior", "it wants a prior and has no `take_prior`"),
        ("their_searchers:Repeating", "asking_twice_gives_other_genomes", "of 40 genomes "),
        ("their_searchers:Asked", "telling_a_log_resumes_the_search", "batches that were told, others are asked for"),
        ("their_searchers:Careless", "budgets_are_kept", "genomes keep none of the budgets (10.0,)"),
        ("their_latency:Nameless", "it_has_what_a_run_uses", "as it is built it has no `error`; `latency_models.base"),
        ("their_latency:Free", "unknown_operators_are_refused", "an operator of kind 'fourier' has a price"),
        ("their_latency:Forgetful", "a_stored_model_loads_in_another_process", "a new process predicts other seconds"),
        ("their_latency:Overconfident", "tables_are_the_model", "tables give "),
        ("their_optimisers:Loose", "it_proposes_what_keeps_the_limit", "and the limit is "),
        ("their_optimisers:Amnesic", "a_killed_search_goes_on", "other networks are asked for"),
        ("their_optimisers:Wordy", "it_proposes_what_keeps_the_limit", "sample(0) returned ["),
        ("their_heads:attention", "operator_choices_share_no_array", "put the option into the operators' names"),
    ],
)
def test_the_first_law_that_is_broken_is_the_error(subject: str, law: str, seen: str, nas: Command) -> None:
    done = nas("check", subject)
    assert f"{subject} breaks the law {law} (" in done.error
    assert seen in done.error
    assert law not in done.out


@pytest.mark.parametrize(
    ("section", "missing"),
    [
        ({"latency_model": "their_latency:Documented"}, "latency model: it has no method `fit`"),
        ({"search": {"searcher": "their_searchers:Deaf"}}, "searcher: it has no method `tell`"),
    ],
)
def test_a_part_without_what_a_run_calls_is_refused_before_the_run(
    section: dict[str, Any], missing: str, nas: Command, tmp_path: Path
) -> None:
    """It ended in an AttributeError, of a latency model after calibration, of a searcher after the supernet."""
    experiment = write(tmp_path, small(**section))
    plugins = ("--plugins", "their_latency,their_searchers")
    assert missing in nas("check", experiment, *plugins).error
    assert missing in nas("run", experiment, "--out", "run", *plugins).error
    assert not Path("run").exists()
    subject = section.get("latency_model", "their_searchers:Deaf")
    assert missing in nas("check", subject).error


def test_heads_as_a_choice_of_operators_are_found_by_running_them() -> None:
    """Their combinations share weights as far as can be told from shapes, and a forward pass raises TypeError."""
    space = importlib.import_module("their_heads").attention((3, 32, 32), 10)
    combinations_share_weights(space)
    with pytest.raises(TypeError):
        every_choice_runs(space)


def test_what_it_is_may_be_said_where_its_parameters_do_not(nas: Command) -> None:
    Path("their_hidden.py").write_text(
        "from nas.searchers.random import RandomSearch\n\ndef make(*given):\n    return RandomSearch(*given)\n"
    )
    message = nas("check", "their_hidden:make").error
    assert "which does not say what it is" in message and "--kind" in message
    with pytest.raises(InputError, match="cannot be built: it raised TypeError"):
        list(testing.check("space", importlib.import_module("their_hidden").make, "their_hidden:make"))
    assert list(testing.check("searcher", importlib.import_module("their_hidden").make, "their_hidden:make"))


def test_arguments_may_be_given(nas: Command) -> None:
    assert "toy cannot be built: it raised SpaceError" in nas("check", "toy", "--set", "width=0").error
    assert "toy has no key 'wdith'" in nas("check", "toy", "--set", "wdith=8").error
    assert "lookup cannot be built: it raised ValueError" in nas("check", "lookup").error
    assert "--kind is for these" in nas("check", "nothing.yaml", "--kind", "space").error


def test_an_optimiser_without_tables_is_refused_before_the_run(nas: Command, tmp_path: Path) -> None:
    search = {**small()["search"], "optimiser": "differentiable"}
    splits = {"arch": 0.05}
    for name, told in (("Untabled", True), ("Tabled", False)):
        data = small(latency_model=f"their_latency:{name}", search=search, splits=splits)
        done = nas("check", write(tmp_path, data), "--plugins", "their_latency")
        assert (done.code == 2) == told, done.err
        if told:
            assert "search.optimiser: latency model their_latency:Untabled has no tables over space m" in done.error
            assert nas("run", write(tmp_path, data), "--out", "run", "--plugins", "their_latency").code == 2
            assert not Path("run").exists()
