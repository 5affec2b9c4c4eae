"""Several things that happen elsewhere are waited for at the same time."""

from __future__ import annotations

import threading

import pytest

from nas.process.machine import computing
from nas.process.side_by_side import side_by_side


def test_all_go_on_at_the_same_time() -> None:
    """Each waits for the other; one after the other they would wait for ever."""
    met = threading.Barrier(2, timeout=10)
    assert sorted(side_by_side({"a": met.wait, "b": met.wait}).values()) == [0, 1]


def test_one_that_fails_lets_the_others_end() -> None:
    ended = []

    def fails() -> None:
        raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        side_by_side({"a": fails, "b": lambda: ended.append("b")})
    assert ended == ["b"]


def test_one_is_done_here() -> None:
    assert side_by_side({"only": threading.current_thread}) == {"only": threading.current_thread()}


def test_tasks_of_several_threads_share_the_machine_until_the_last_has_ended() -> None:
    from nas.process import machine

    begun, may_end = threading.Event(), threading.Event()

    def computes() -> None:
        with computing():
            begun.set()
            assert may_end.wait(10)

    worker = threading.Thread(target=computes)
    worker.start()
    assert begun.wait(10)
    with computing():
        assert machine._share is not None
    assert machine._share is not None, "the other one still computes"
    may_end.set()
    worker.join()
    assert machine._share is None
