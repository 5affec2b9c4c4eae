"""Cores are shared out between processes that do not know of each other."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.process import cores, machine
from nas.process.facts import cores_used


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody else shares cores with these tests, and they leave this process those that it has."""
    monkeypatch.setattr(machine, "FOLDER", tmp_path)
    cores._whole.cache_clear()
    before = os.sched_getaffinity(0)
    yield
    cores._whole.cache_clear()
    assert os.sched_getaffinity(0) == before


def test_a_share_is_all_that_the_process_and_its_threads_have() -> None:
    whole, seen, stop = cores_used(), list[set[int]](), threading.Event()
    ready = threading.Event()

    def idle() -> None:
        ready.set()
        stop.wait()
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=idle)
    thread.start()
    ready.wait()
    with cores.share(1) as mine:
        assert len(mine) == 1 and cores_used() == tuple(mine)
        stop.set()
        thread.join()
    assert seen == [set(mine)] and cores_used() == whole


@pytest.mark.skipif(len(cores_used()) < 2, reason="there is one core")
def test_shares_have_different_cores_as_long_as_there_are_some() -> None:
    """A lock is held by an open file, whose ever process: two shares of one process are as those of two."""
    with cores.share(1) as first, cores.share(1) as second:
        assert not set(first) & set(second)
    with cores.share(len(cores_used())) as everything, cores.share(1) as more:
        assert set(more) <= set(everything) and len(more) == 1
    with cores.share(1) as again:
        assert list(again) == list(first)


def test_more_cores_than_there_are_are_all_of_them() -> None:
    with cores.share(len(cores_used()) + 3) as mine:
        assert tuple(mine) == cores_used()
