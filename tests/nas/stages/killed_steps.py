"""A training or search that is killed at one of its steps, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Killed(Exception):
    """Nothing but a test raises it."""


def killed_at(stop: int, real: Callable[..., Any]) -> Any:
    """Progress in place of the `real` one of a stage, which is killed at a step."""

    @contextmanager
    def stopping(context: Any, what: str, *steps: int) -> Iterator[Any]:
        with real(context, what, *steps) as report:

            def until(step: int, loss: float) -> None:
                if step == stop:
                    raise Killed
                report(step, loss)

            yield until

    return stopping
