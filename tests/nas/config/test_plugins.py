"""Nobody's code runs unless it was named: modules that leave a mark when imported, under every command."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from nas.config import parse, registry
from nas.config.kinds import SEARCHER
from nas.config.plugins import NO_PLUGINS, granted
from nas.errors import InputError
from tests.nas.small_runs import Command, hashes, small, write

MARKING = """
from pathlib import Path
print("theirs runs")
Path("marker").touch()

from nas.tasks.image_classification.dataset import RawData
from nas.tasks.image_classification.digits import digits
from nas.searchers.random import RandomSearch
from search_spaces.toy import toy

def theirs() -> RawData:
    return digits()

def space(input_shape: tuple[int, ...], classes: int):
    return toy(input_shape, classes, 4)

class Searcher(RandomSearch):
    pass
"""
#: Ends at once, because nothing fits, and leaves a run behind.
ENDS = {"budgets": [{"name": "fast", "latency": "1 us"}], "calibration": {"networks": 0}}
REMEDY = "'theirs', which nobody allowed to run: if you trust it, add --plugins theirs"


@pytest.fixture
def theirs(nas: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., bool]]:
    """A module in the working directory; tells whether its code ran since it was last asked."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    Path("theirs.py").write_text(MARKING)

    def ran() -> bool:
        found = Path("marker").exists()
        Path("marker").unlink(missing_ok=True)
        sys.modules.pop("theirs", None)
        return found

    yield ran
    ran()


NAMED: tuple[dict[str, Any], ...] = (
    {"data": "theirs:theirs"},
    {"data": {"name": "theirs.inner:theirs", "x": 1}},
    {"space": "theirs:space"},
    {"search": {"searcher": "theirs:Searcher"}},
    {"search": {"optimiser": "theirs:Searcher"}},
    {"latency_model": "theirs:Searcher"},
)


@pytest.mark.parametrize("named", NAMED, ids=str)
@pytest.mark.parametrize("command", ["check", "run", "search"])
def test_without_being_named_nothing_of_theirs_runs(
    command: str, named: dict[str, Any], nas: Command, theirs: Callable[..., bool]
) -> None:
    path, before = list(sys.path), hashes(Path())
    outcome = nas(command, write(Path(), small(**named)))
    assert REMEDY in outcome.error and outcome.out == ""
    assert not theirs() and sys.path == path
    Path("experiment.yaml").unlink()
    assert hashes(Path()) == before


def test_named_it_works_and_is_asked_for_again_by_every_command(nas: Command, theirs: Callable[..., bool]) -> None:
    """The run records what it was granted, which grants nothing to the next command."""
    named = ("--plugins", "theirs")
    data = {"data": "theirs:theirs", "space": "theirs:space", "search": {"searcher": "theirs:Searcher"}}
    file = write(Path(), small(**data, **ENDS))
    assert nas("run", file, "--out", "run", *named).code == 3
    assert theirs()
    assert json.loads(Path("run/environment.json").read_text())["plugins"] == ["theirs"]
    before = hashes(Path("run"))
    for command in (
        ("run", file, "--out", "run", "--resume"),
        ("train", "run"),
        ("export", "run"),
        ("verify", "run"),
        ("report", "run"),
        ("check", "run/experiment.yaml"),
    ):
        assert REMEDY in nas(*command).error
        assert not theirs() and hashes(Path("run")) == before
    assert nas("report", "run", *named).code == 0
    assert theirs()
    assert nas("run", file, "--out", "run", "--resume", "--plugins", "other,theirs").code == 3
    assert theirs()


def test_what_another_run_names_is_not_imported_to_reuse_its_weights(
    nas: Command, theirs: Callable[..., bool], finished: Path
) -> None:
    """Not even where it was granted; and a searcher of theirs over there is nothing to us."""
    other = Path("other")
    other.mkdir()
    for name in ("environment.json", "supernet.safetensors"):
        (other / name).write_bytes((finished / name).read_bytes())
    text = (finished / "experiment.yaml").read_text()
    reusing = small()
    reusing["supernet"]["reuse"] = str(other)
    file = write(Path(), reusing)
    for was, now, message in (
        ("  name: digits", "  name: theirs:theirs", "data was 'theirs:theirs' there and is 'digits' here"),
        ("  name: mobile", "  name: theirs:space", "space was 'theirs:space' there and is 'mobile' here"),
        ("  augment: true\n", "", None),  # as an older release may have written it
        ("    name: nsga2", "    name: theirs:Searcher", None),
    ):
        assert text.count(was) == 1
        (other / "experiment.yaml").write_text(text.replace(was, now))
        found = nas("check", file, "--plugins", "theirs")
        if message is None:
            assert found.code == 0, found.err
        else:
            assert message in found.error
        assert not theirs()


def test_what_is_checked_is_named_by_that(nas: Command, theirs: Callable[..., bool]) -> None:
    assert nas("check", "theirs:space").code == 0
    assert theirs()


def test_a_profile_takes_a_space_of_theirs_if_it_is_named(nas: Command, theirs: Callable[..., bool]) -> None:
    profile = ("profile", "board", "--runner", "onnxruntime", "--space", "theirs:space")
    assert REMEDY in nas(*profile).error
    assert not theirs()
    # It is imported, and then found to have no tables.
    assert "has no tables" in nas(*profile, "--table", "8x8", "--plugins", "theirs").error
    assert theirs()


@pytest.mark.parametrize("text", ["", "theirs,", "theirs.py:x", "theirs:theirs", "../theirs", "a b"])
def test_what_is_no_module_is_refused(text: str, nas: Command, theirs: Callable[..., bool]) -> None:
    error = nas("check", write(Path(), small()), "--plugins", text).error
    assert "is not the name of a module; write for example --plugins my_module" in error


def test_a_grant_is_of_top_level_modules_and_travels_with_what_it_granted(
    monkeypatch: pytest.MonkeyPatch, theirs: Callable[..., bool]
) -> None:
    plugins = granted(["theirs.inner, more", "theirs"])
    assert plugins.modules == ("more", "theirs")
    spec = parse.component("theirs:Searcher", SEARCHER, "searcher", plugins)
    assert spec.load().__name__ == "Searcher"
    # A worker gets it with the component.
    assert pickle.loads(pickle.dumps(spec)).load() is spec.load()
    with pytest.raises(InputError, match="nobody allowed"):
        registry.load(spec.reference)
    assert registry.load("nas.searchers.random:RandomSearch", NO_PLUGINS)


def test_an_installed_package_names_its_module_by_an_entry_point(
    nas: Command, monkeypatch: pytest.MonkeyPatch, theirs: Callable[..., bool], tmp_path: Path
) -> None:
    """Found without being imported; and from where it is installed, not from the working directory."""
    Path("theirs.py").unlink()
    installed = tmp_path / "site"
    (installed / "theirs-1.0.dist-info").mkdir(parents=True)
    (installed / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (installed / "theirs-1.0.dist-info" / "entry_points.txt").write_text("[hwnas.plugins]\nmine = theirs.deep\n")
    (installed / "theirs.py").write_text(MARKING)
    file = write(Path(), small(search={"searcher": "theirs:Searcher"}))
    assert REMEDY in nas("check", file).error
    monkeypatch.syspath_prepend(installed)
    assert [point.name for point in metadata.entry_points(group="hwnas.plugins")] == ["mine"]
    assert granted().installed == ("theirs",) and granted().named == ()
    assert not theirs()
    path = list(sys.path)
    found = nas("check", file)
    assert found.code == 0, found.err
    assert theirs() and sys.path == path
