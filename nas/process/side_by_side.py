"""Waiting for several things that happen elsewhere, at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def side_by_side(work: Mapping[str, Callable[[], Result]]) -> dict[str, Result]:
    """What each gives, by name; all are let end before the error of the first that failed is raised."""
    if len(work) < 2:
        return {name: one() for name, one in work.items()}
    with ThreadPoolExecutor(len(work)) as pool:
        begun = {name: pool.submit(one) for name, one in work.items()}
    return {name: future.result() for name, future in begun.items()}
