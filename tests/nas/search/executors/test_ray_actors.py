"""Actors of Ray that work for this process, on a cluster of this machine alone."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nas.errors import InputError
from nas.process.threads import limited_to
from nas.search.executors import Failure, ray_actors
from nas.search.executors.dispatch import MOST_DEATHS
from nas.search.executors.ray_actors import Ray
from tests.nas.search.executors import tasks

installed = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_actors.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Ray is not installed: pip install 'hwnas\[ray\]'"):
        Ray()


@installed
@pytest.mark.parametrize("numbers", [{"workers": 0}, {"threads_per_worker": -1}])
def test_numbers_that_cannot_be_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(InputError, match="give at least 1"):
        Ray(**numbers)


@pytest.fixture(scope="module")
def two() -> Iterator[Ray]:
    with closing(Ray(workers=2, threads_per_worker=1)) as executor:
        yield executor


@installed
@pytest.mark.slow
def test_actors_have_so_many_threads_and_are_replaced_when_they_die(two: Ray, tmp_path: Path) -> None:
    assert list(two.map(tasks.settings, [0])) == [limited_to(1)]
    assert list(two.map(tasks.meets, [tmp_path / name for name in "ab"])) == ["a", "b"]
    done = list(two.map(tasks.KilledOnce(tmp_path / "killed", 3), range(6)))
    assert (tmp_path / "killed").exists() and done == [2 * item for item in range(6)]
    done = list(two.map(tasks.kills, [0, 1, 2]))
    assert done[::2] == [0, 2]
    assert isinstance(done[1], Failure) and done[1].cause.endswith(", 3 times")


@installed
@pytest.mark.slow
def test_the_deaths_of_idle_actors_are_not_the_next_item_s(two: Ray, tmp_path: Path) -> None:
    """Two that were idle, and one that the item itself has killed, would be as many as make it a failure."""
    alive = set(two.map(tasks.process, range(6)))
    for process in alive:
        os.kill(process, signal.SIGKILL)
    assert len(alive) == MOST_DEATHS - 1
    assert list(two.map(tasks.KilledOnce(tmp_path / "killed", 5), [5])) == [10]
    assert (tmp_path / "killed").exists()
