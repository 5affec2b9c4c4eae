"""One thread for matrices of a few hundred rows: handing them to several costs more than it saves, threefold here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import Any


@cache
def _controller() -> Any:
    # Looking the loaded libraries up takes a millisecond or two; those of numpy and scipy are loaded by now.
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Let BLAS use one thread inside; the limit holds for the process, so enter it from one thread at a time."""
    with _controller().limit(limits=1, user_api="blas"):
        yield
