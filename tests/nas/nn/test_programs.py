"""Large programs: what they return, and that they share their memory."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from nas.nn import programs
from nas.nn.programs import Program


def test_a_program_returns_what_its_function_does_and_uses_up_what_is_donated() -> None:
    program = Program(lambda a, b: (a + b, a.sum()), donated=(0,))
    a = jnp.arange(4.0)
    total, before = program(a, np.ones(4, np.float32))
    assert total.tolist() == [1, 2, 3, 4] and float(before) == 6 and a.is_deleted()
    with pytest.raises(TypeError):
        program(jnp.arange(5.0), np.ones(5, np.float32))


def test_stretches_of_memory_are_joined() -> None:
    assert programs._joined([(8, 9), (0, 3), (2, 5), (5, 6)]) == [(0, 6), (8, 9)]


@pytest.fixture
def heap(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A heap that says what the test wants, and notes what it is asked: every program is a large one."""
    said: dict[str, Any] = {"place": 0, "released": 0, "waited": [], "now": 0.0}
    monkeypatch.setattr(programs, "LARGE_BYTES", 0)
    monkeypatch.setattr(programs, "_running", programs._Running())
    monkeypatch.setattr(programs.heap, "place_of", lambda size: said["place"])
    monkeypatch.setattr(programs.heap, "in_use", lambda: 1000)
    monkeypatch.setattr(programs.heap, "release", lambda: said.update(released=said["released"] + 1))
    monkeypatch.setattr(programs.heap, "wait_until", lambda most, patience_s: said["waited"].append(most))
    monkeypatch.setattr(programs.time, "monotonic", lambda: said["now"])
    return said


def test_large_programs_wait_for_each_other(heap: dict[str, Any]) -> None:
    one, other = Program(lambda a: (a + 1, a.sum()), donated=(0,)), Program(lambda a: a * 2)
    results = one(jnp.zeros(8))
    assert heap["waited"] == [] and heap["released"] == 2
    # What was handed to be overwritten is not waited for.
    doubled = other(results[0])
    assert doubled.tolist() == [2.0] * 8 and len(heap["waited"]) == 1 and heap["released"] == 4
    one(one(jnp.zeros(8))[0])
    assert len(heap["waited"]) == 3 and heap["released"] == 4


def test_pages_are_given_back_where_programs_have_moved_but_seldom(heap: dict[str, Any]) -> None:
    running = programs._Running()
    for now, place, released in ((0, 0, 0), (1, 0, 0), (2, 10, 0), (3, 500, 1), (4, 900, 1), (9, 500, 2), (20, 520, 2)):
        heap.update(now=now, place=place)
        running.prepare(100)
        assert heap["released"] == released, (now, place)


def test_where_the_heap_says_nothing_programs_run(heap: dict[str, Any]) -> None:
    heap["place"] = None
    program = Program(lambda a: a * 2)
    assert program(program(jnp.ones(3))).tolist() == [4.0] * 3


class _Broken:
    """A result that could not be computed: whoever reads it hears of it."""

    def is_deleted(self) -> bool:
        return False

    def block_until_ready(self) -> None:
        raise RuntimeError("RESOURCE_EXHAUSTED")


def test_a_program_that_failed_leaves_the_next_ones_alone(heap: dict[str, Any]) -> None:
    programs._running.begin([_Broken()])
    program = Program(lambda a: a * 2)
    assert program(jnp.ones(3)).tolist() == [2.0] * 3
