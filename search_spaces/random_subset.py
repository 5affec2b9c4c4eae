"""A deterministic random subset: which of too many things stay follows from the set of them, as if drawn at random."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_ORDERS = 1024


def random_subset(marked: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """Leave at most `most` of the marks of each row [n, m]; a row's answer depends on nothing but the row.

    Over random rows each of the m is left about equally often.
    """
    rows, count = marked.shape
    left = np.zeros(rows * count, np.bool_)
    weights, orders = _weights_and_orders(count)
    order = (marked @ weights).astype(np.int32) % _ORDERS
    marks, first = np.ascontiguousarray(marked).reshape(-1), np.arange(rows) * count
    free = np.full(rows, most, np.int32)
    # One place in the random order after another, for the rows that have marks to give.
    for place in range(count if most else 0):
        at = first + orders[place].take(order)
        hit = marks.take(at)
        left[at[hit]] = True
        free -= hit
        going = np.flatnonzero(free)
        if len(going) < len(free):
            order, first, free = order[going], first[going], free[going]
    return left.reshape(rows, count)


@cache
def _weights_and_orders(count: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Weights [count] whose sums tell sets apart, and orders [count, _ORDERS]: which comes first, second, third..."""
    # The legacy generator, whose numbers no release of numpy will change.
    random = np.random.RandomState(0)
    weights = random.randint(1, 1 << 12, size=count).astype(np.float32)
    return weights, np.argsort(random.rand(_ORDERS, count), axis=1).T.copy()
