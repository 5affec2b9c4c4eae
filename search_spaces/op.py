"""What an operator of a network is: its kind, its name, what it reads, and the shape and type of what it gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from search_spaces.operators import Shape

#: (index of an operator, index of its output); all present operators have one output.
Ref = tuple[int, int]

DTYPE_BYTES: Final[Mapping[str, int]] = {"float32": 4, "float16": 2, "int8": 1}


@dataclass(frozen=True, slots=True)
class Op:
    """One operator. `name` is a stable path such as `stage2.block1.expand`: its weights are stored under it."""

    kind: str
    name: str
    inputs: tuple[Ref, ...]
    shape: Shape
    dtype: str = "float32"
    attrs: tuple[tuple[str, Any], ...] = ()

    def attr(self, name: str) -> Any:
        """The value of one attribute; raises KeyError."""
        for key, value in self.attrs:
            if key == name:
                return value
        raise KeyError(f"{self.name} ({self.kind}) has no attribute {name!r}")

    @property
    def attributes(self) -> dict[str, Any]:
        """All attributes, defaults included."""
        return dict(self.attrs)

    @property
    def size(self) -> int:
        """Elements of the output for one sample."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the output for one sample."""
        return self.size * DTYPE_BYTES[self.dtype]
