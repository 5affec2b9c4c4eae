"""Compiled programs whose working memory is large run one after the other, in the same place of the heap.

JAX hands programs to XLA's threads and goes on. One that is handed over while another runs, or before the other has
given its memory back, gets memory of its own, and a heap that is kept (`nas.process.heap`) stays that much larger.
Small programs are not waited for: for them the overlap is worth more than the memory.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import jax

from nas.process import heap

#: Working memory from which a program is run by itself.
LARGE_BYTES: Final = 256 * 2**20
#: A large program's memory comes back within a millisecond or two after its results.
_PATIENCE_S: Final = 0.02
#: Free pages are given back where they are this much more than the largest program works in, and seldom: taking them
#: again costs a fifth of a second per gigabyte.
_SPARE: Final = 1.25
_RELEASED_EVERY_S: Final = 5.0


class _Running:
    """The large programs of this process: the one handed over last, and where on the heap there have been any."""

    def __init__(self) -> None:
        #: Held by the thread that hands one over.
        self.turn = threading.Lock()
        self._results: list[jax.Array] = []
        self._in_use_bytes = 0
        self._places: list[tuple[int, int]] = []
        self._most_bytes = 0
        self._released = -_RELEASED_EVERY_S

    def finish(self) -> None:
        """Wait until the last one is done and its memory is free."""
        results, self._results = self._results, []
        for result in results:
            # One that a program was given to overwrite can't be waited for; the others are ready with it. One that
            # could not be computed is for whoever reads it to hear of.
            with contextlib.suppress(RuntimeError):
                if not result.is_deleted():
                    result.block_until_ready()
        if results:
            heap.wait_until(self._in_use_bytes, _PATIENCE_S)

    def prepare(self, working_bytes: int) -> None:
        """Wait for the last one, and see that the next one works in the memory that there is already."""
        self.finish()
        begin = heap.place_of(working_bytes)
        if begin is not None:
            self._most_bytes = max(self._most_bytes, working_bytes)
            self._places = _joined([*self._places, (begin, begin + working_bytes)])
            touched, now = sum(end - start for start, end in self._places), time.monotonic()
            if touched > _SPARE * self._most_bytes and now > self._released + _RELEASED_EVERY_S:
                heap.release()
                self._released, self._places = now, [(begin, begin + working_bytes)]
        self._in_use_bytes = heap.in_use() + working_bytes // 2

    def clear(self) -> None:
        """Give back what programs and the compiler, which can need as much, have worked in."""
        self.finish()
        heap.release()
        self._places, self._most_bytes = [], 0

    def begin(self, results: Any) -> None:
        """Take note of what was handed over."""
        self._results = jax.tree.leaves(results)


_running: Final = _Running()


def _joined(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches (begin, end) of memory without overlaps."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(places):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


class Program:
    """A function of arrays, compiled at its first call for the shapes given there; those of `donated` are used up."""

    def __init__(self, function: Callable[..., Any], donated: tuple[int, ...] = ()) -> None:
        self._function = jax.jit(function, donate_argnums=donated)
        self._compiled: Any = None
        self._working_bytes = 0

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns; shapes and types must be those of the first call."""
        if self._compiled is None:
            with _running.turn:
                _running.clear()
            self._compiled = self._function.lower(*arguments).compile()
            memory = self._compiled.memory_analysis()
            self._working_bytes = 0 if memory is None else int(memory.temp_size_in_bytes)
            with _running.turn:
                _running.clear()
        if self._working_bytes < LARGE_BYTES:
            return self._compiled(*arguments)
        with _running.turn:
            _running.prepare(self._working_bytes)
            results = self._compiled(*arguments)
            _running.begin(results)
        return results
