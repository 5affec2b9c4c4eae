"""An executor of one's own: so many processes on this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from nas.search.executors import attempted


class Pool:
    """Judges networks in `workers` processes, which begin with the first batch and end with the search."""

    def __init__(self, *, workers: int = 2) -> None:
        # A process that was forked would inherit threads of JAX that no longer run.
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))

    def map(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """An answer or a failure per item, in order."""
        yield from self._pool.map(partial(attempted, task), items)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)
