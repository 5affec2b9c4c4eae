"""What a worker does with what it is given: both come pickled, and what comes of them is pickled too."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Final

from nas.errors import InputError
from nas.process.boundary import Boundary
from nas.search.executors.base import attempted

_WHAT: Final = "search.executor: a worker cannot open what it is to do"


class Work:
    """Does a task for one item after another; what a task has opened for an item serves the next one too."""

    def __init__(self) -> None:
        self._pickled = b""
        self._task: Callable[[Any], Any] = _nothing

    def __call__(self, task: bytes, item: bytes) -> bytes:
        """Whether something was raised that is not the item's fault, with that, or with an answer or a failure."""
        try:
            outcome = attempted(self._outcome, (task, item))
        except InputError as error:
            return pickle.dumps((True, InputError(str(error))))
        except AssertionError as error:
            return pickle.dumps((True, AssertionError(str(error))))
        return outcome if isinstance(outcome, bytes) else pickle.dumps((False, outcome))

    def _outcome(self, given: tuple[bytes, bytes]) -> bytes:
        task, item = given
        with Boundary(_WHAT, InputError):
            if task != self._pickled:
                self._task, self._pickled = pickle.loads(task), task
            opened = pickle.loads(item)
        # Here, so that an answer that cannot be pickled is a failure of its item.
        return pickle.dumps((False, self._task(opened)))


def _nothing(item: Any) -> Any:
    raise AssertionError("a worker was given an item before a task")
