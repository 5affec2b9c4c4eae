"""How many threads a matrix product may use: a device's for measuring it, one where matrices are small.

Handing matrices of a few hundred rows to several threads costs more than it saves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=None)  # noqa: UP033 (new in 3.9, and this file is sent to boards)
def _controller() -> Any:
    # Looking the loaded libraries up takes a millisecond or two; those of numpy and scipy are loaded by now.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Let BLAS use `count` threads inside; it holds for the whole process, so enter it from one thread at a time.

    Raises ImportError where threadpoolctl is not installed: a board has numpy alone.
    """
    with _controller().limit(limits=count, user_api="blas"):
        yield
