"""Boards under names that are aliases of shipped devices, and beside boards that are described by these."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from hardware_profiles import load
from tests.nas.small_runs import Command


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize("order", list(itertools.permutations(("rpi4b", "pi4"))), ids=str)
def test_a_name_is_that_of_the_board_that_was_added_by_it(nas: Command, order: tuple[str, ...]) -> None:
    assert "pi4" in load("rpi4b").aliases
    for name in order:
        assert nas("devices", "add", name, "--at", sys.executable).code == 0
    assert load("pi4").id == "pi4" and load("rpi4b").id == "rpi4b" and load("raspi4").id == "rpi4b"
    assert nas("devices").code == 0


def test_an_alias_is_measured_and_not_believed(nas: Command) -> None:
    """What a user calls a board says nothing of what it is; the id of a profile does, or --profile."""
    assert nas("devices", "add", "pi4", "--at", sys.executable).code == 0
    assert load("pi4").peak_flops_per_s["float32"].grade == "measured"
    shown = nas("devices", "add", "rpi4b", "--at", sys.executable).out
    assert load("rpi4b").peak_flops_per_s["float32"].grade != "measured"
    assert "it calls itself" in shown and "is of aarch64" in shown
