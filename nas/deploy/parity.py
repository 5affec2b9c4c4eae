"""Whether two runtimes compute the same answers: the largest difference of logits, and the classes that change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.tolerances import ARTEFACT_RELATIVE, TOP1_DISAGREEMENT_SHARE

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison of answers to `samples` inputs.

    `relative` is the largest difference of two logits over the largest logit. `changed` counts the samples whose class
    is another one, and `margin` is the largest lead, in logits, that was overturned.
    """

    samples: int
    difference: float
    relative: float
    changed: int
    margin: float

    @property
    def same(self) -> bool:
        """Whether this is the same network: small differences, and classes that change only in ties, and rarely.

        That a lead which is overturned is under twice the difference needs no check, since both logits move by at most
        the difference: bounding the difference bounds the lead.
        """
        return self.relative <= ARTEFACT_RELATIVE and self.changed <= TOP1_DISAGREEMENT_SHARE * self.samples

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        return {
            "samples": self.samples,
            "difference": self.difference,
            "relative": self.relative,
            "changed": self.changed,
            "margin": self.margin,
            "same": self.same,
        }


def compare(reference: Array, other: Array) -> Parity:
    """Compare logits [n, classes] of two runtimes; a value that is not finite makes the difference infinite.

    Raises ValueError for shapes that differ.
    """
    if reference.shape != other.shape or reference.ndim != 2 or not reference.size:
        raise ValueError(f"cannot compare logits {reference.shape} with {other.shape}: give [n, classes] twice")
    a, b = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    rows = np.arange(len(a))
    first, second = a.argmax(1), b.argmax(1)
    changed = first != second
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Parity(len(a), math.inf, math.inf, int(changed.sum()), math.inf)
    lead = (a[rows, first] - a[rows, second])[changed]
    difference = float(np.abs(a - b).max())
    largest = float(np.abs(a).max())
    relative = difference / largest if largest else (math.inf if difference else 0.0)
    return Parity(len(a), difference, relative, int(changed.sum()), float(lead.max(initial=0.0)))


def compare_exits(exits: Mapping[str, Sequence[Array]]) -> dict[str, tuple[Parity, ...]]:
    """Compare every runtime with the first one named, exit by exit: {"jax": [...], "onnxruntime": [...], "tvm": [...]}.

    Each value has the logits [n, classes] of every exit in order. Raises ValueError for another number of exits.
    """
    (_, reference), *others = exits.items()
    return {name: tuple(compare(a, b) for a, b in zip(reference, other, strict=True)) for name, other in others}
