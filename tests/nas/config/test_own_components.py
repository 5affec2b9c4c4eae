"""Components of the user's own: found in the working directory, and checked before they are called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from nas.config import dump, kinds, parse, plain_yaml
from nas.config.plugins import granted
from nas.tasks.image_classification import DATASETS
from tests.nas.small_runs import Command, small, write

OWN = """
from __future__ import annotations
import numpy as np
from nas.tasks.image_classification.dataset import RawData
from nas.config.units import Seconds
from search_spaces.toy import toy

def halves(timeout_s: Seconds = 2.0, shades: int = 4) -> RawData:
    x = np.zeros((40, 1, 8, 8), np.uint8)
    x[:, 0, 0, 0] = np.arange(40)
    x[::2, 0, :, 4:] = shades
    y = (np.arange(40) % 2).astype(np.int32)
    return RawData(x[:32], y[:32], x[32:], y[32:], ("a", "b"), "halves")

def narrow(input_shape: tuple[int, ...], classes: int, width: int = 4):
    return toy(input_shape, classes, width)

def unannotated(path="x"):
    open(path, "w").write("called")

def unreadable(path: "NoSuchType") -> RawData: ...

NOT_CALLABLE = 3
"""


@pytest.fixture
def own(nas: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A folder with components of the user's own."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    Path("own_parts.py").write_text(OWN)
    return nas


def test_components_of_your_own_come_from_the_working_directory(own: Command) -> None:
    data = small(
        data={"name": "own_parts:halves", "timeout": "50 ms"},
        space="own_parts:narrow",
        supernet={"batch_size": 8},
        winners={"batch_size": 8},
    )
    experiment = parse.experiment(data, granted(["own_parts"]))
    assert experiment.data.arguments == {"timeout_s": 0.05, "shades": 4}
    assert experiment.space.arguments == {"width": 4}
    assert parse.experiment(plain_yaml.parse(dump.to_yaml(experiment)), experiment.plugins) == experiment
    found = own("check", write(Path(), data), "--plugins", "own_parts")
    assert found.code == 0 and "of (1, 8, 8), space toy" in found.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "own_parts:halve"}, "has no callable 'halve'; did you mean 'halves'?"),
        ({"data": "own_parts:NOT_CALLABLE"}, "has no callable 'NOT_CALLABLE'."),
        ({"data": "no_such_parts:halves"}, "there is no module 'no_such_parts' on the path, and of those in "),
        ({"data": {"name": "own_parts:halves", "timeout": 50}}, "data.timeout of 50 has no unit"),
        ({"data": {"name": "own_parts:halves", "shade": 5}}, "did you mean 'shades'?"),
        ({"data": {"name": "own_parts:unreadable", "path": "x"}}, "its parameters cannot be read (name 'NoSuchType'"),
        ({"data": {"name": "own_parts:unannotated", "path": "marker"}}, "has to be annotated to return"),
        ({"space": "own_parts:halves"}, "space.name: own_parts:halves is no space: it has no parameter 'input_shape'"),
    ],
)
def test_components_of_your_own_are_checked_before_they_are_called(
    own: Command, change: dict[str, Any], message: str
) -> None:
    granted = ("--plugins", "own_parts,no_such_parts")
    assert message in own("check", write(Path(), small(**change)), *granted).error
    assert not Path("marker").exists()


def test_a_module_that_is_broken_is_said_to_be(own: Command) -> None:
    named = ("--plugins", "own_broken", "--plugins", "own_missing")
    Path("own_broken.py").write_text("def f(:\n")
    assert "own_broken.py, line 1: " in own("check", write(Path(), small(data="own_broken:f")), *named).error
    Path("own_missing.py").write_text("from nas.tasks.image_classification import no_such_thing\n")
    found = own("check", write(Path(), small(data="own_missing:f")), *named)
    assert "cannot import name 'no_such_thing'" in found.error


def test_our_own_loaders_are_what_is_asked_of_a_users() -> None:
    arguments: dict[str, dict[str, Any]] = {
        "digits": {},
        "fashion_mnist": {},
        "cifar10": {"path": "x"},
        "cifar100": {"path": "x"},
        "image_folder": {"path": "x", "size": 8},
        "npz": {"path": "x"},
    }
    for name in DATASETS:
        own = parse.component({"name": DATASETS[name], **arguments[name]}, kinds.DATA, "data")
        assert own.reference == DATASETS[name]
