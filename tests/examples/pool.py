"""An executor of one's own: so many processes on this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any

from nas.search.executors import Failure, attempted


class Pool:
    """Judges networks in `workers` processes, which begin with the first batch and end with the search."""

    def __init__(self, *, workers: int = 2) -> None:
        self._workers = workers
        self._pool = self._begun()

    def _begun(self) -> ProcessPoolExecutor:
        # A process that was forked would inherit threads of JAX that no longer run.
        return ProcessPoolExecutor(self._workers, mp_context=multiprocessing.get_context("spawn"))

    def map(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        """An answer or a failure per item, in order."""
        for future in [self._pool.submit(attempted, task, item) for item in items]:
            try:
                yield future.result()
            except BrokenExecutor as error:  # a process died, and with it what was asked of the others
                yield Failure(f"{type(error).__name__}: {error}")
                self._pool = self._begun()

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)
