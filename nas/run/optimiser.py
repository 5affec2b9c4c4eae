"""What the optimiser of a run found for each budget, and its searches under way."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from latency_models.arrays import read_arrays
from nas.config.budget import Budget
from nas.process.files import atomic_write_bytes, atomic_write_json, read_json, understood
from nas.run.context import Context

SCHEMA: Final = 1
_OWN: Final = "own/"
#: Whether the losses of a search count every class the same.
BALANCED: Final = "balanced"
#: What is said of a search whose losses were on another scale than they are now.
BEGUN_ANEW: Final = (
    "the optimiser begins anew: an older release began it, and its losses were not balanced, while networks are chosen "
    "by balanced accuracy"
)
_REMEDY: Final = "delete it, and the optimiser looks again"


@dataclass(frozen=True, eq=False)
class Found:
    """What the search for one budget left: `proposals` [n, genes], the best first, and probabilities per gene."""

    budget: str
    proposals: NDArray[np.int64]
    probabilities: tuple[tuple[float, ...], ...]


def load_found(context: Context) -> tuple[Found, ...]:
    """What was found for each budget that can be kept; empty where the experiment has no optimiser."""
    found = []
    for budget in context.experiment.budgets:
        path = context.files.optimiser(budget.name)
        if not path.exists():
            continue
        record = read_json(path, _REMEDY)
        with understood(path, _REMEDY):
            if record["proposals"]:
                proposals = np.array(record["proposals"], np.int64)
                shares = tuple(tuple(map(float, gene)) for gene in record["probabilities"])
                found.append(Found(budget.name, proposals, shares))
    return tuple(found)


def is_found(context: Context, budget: Budget) -> bool:
    """Whether the search for a budget has come to its end."""
    return context.files.optimiser(budget.name).exists()


def forget_checkpoint(context: Context, budget: Budget) -> None:
    """Take away the checkpoint of a search that has come to its end."""
    context.files.optimiser_checkpoint(budget.name).unlink(missing_ok=True)


def write_found(context: Context, budget: Budget, record: Mapping[str, Any]) -> None:
    """Write down how the search for a budget ended; its checkpoint goes away."""
    atomic_write_json(context.files.optimiser(budget.name), {"schema": SCHEMA, "budget": budget.name, **record})
    forget_checkpoint(context, budget)


def write_checkpoint(context: Context, budget: Budget, step: int, state: Mapping[str, NDArray[np.float64]]) -> None:
    """Keep the state of a search after so many steps."""
    data = io.BytesIO()
    named = {_OWN + name: value for name, value in state.items()}
    balanced = np.array(context.experiment.search.balanced)
    np.savez(data, allow_pickle=False, step=np.array(step), **{BALANCED: balanced}, **named)
    atomic_write_bytes(context.files.optimiser_checkpoint(budget.name), data.getvalue())


def read_checkpoint(context: Context, budget: Budget) -> tuple[int, dict[str, NDArray[np.float64]]] | None:
    """The steps and the state of a search under way; None where there is none, or its losses were on another scale.

    Losses of older releases were those of all images alike, also where networks are chosen by balanced accuracy.
    """
    path = context.files.optimiser_checkpoint(budget.name)
    if not path.exists():
        return None
    with understood(path, _REMEDY):
        stored = read_arrays(path)
        if bool(stored.get(BALANCED, False)) != context.experiment.search.balanced:
            context.voice.note(f"{budget.name}: {BEGUN_ANEW}")
            return None
        state = {name.removeprefix(_OWN): value for name, value in stored.items() if name.startswith(_OWN)}
        return int(stored["step"]), state
