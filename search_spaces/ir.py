"""What a network is: a frozen list of operators with shapes, and the operators whose outputs are answers.

Everything else in the project derives from this: counts, latencies, the JAX program, the ONNX graph, the cache key.
A network without early exits is the case of one exit; there is no second representation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from search_spaces.attributes import resolve
from search_spaces.memory import peak_memory
from search_spaces.op import DTYPE_BYTES, Op, Ref
from search_spaces.operators import OPERATORS, Shape, ShapeError, Weight

SCHEMA: Final = 1


@dataclass(frozen=True)
class Counts:
    """Static costs of a network or of its part up to one exit, for one sample."""

    macs: int
    flops: int
    params: int
    weight_bytes: int


@dataclass(frozen=True)
class Segment:
    """The part of a network between two exits, as a network of its own.

    `takes` are the names of the tensors that enter, equal to the names of `network`'s inputs; `gives` are the names of
    the operators in it whose tensors later segments take. `network` has exactly one exit.
    """

    network: Network
    takes: tuple[str, ...]
    gives: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A network: operators in execution order, and the indices of those that give answers, in order, the last always.

    `genome` is what a space decoded it from, None for others; it is no part of what the network is. Raises ShapeError
    where the operators do not fit together.
    """

    ops: tuple[Op, ...]
    exits: tuple[int, ...]
    schema: int = SCHEMA
    genome: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.ops or not self.exits:
            raise ShapeError("a network needs at least one operator and one exit")
        names = set()
        for index, op in enumerate(self.ops):
            if op.name in names:
                raise ShapeError(f"two operators are called {op.name!r}")
            names.add(op.name)
            if any(not 0 <= source < index or output != 0 for source, output in op.inputs):
                raise ShapeError(f"{op.name}: an input refers to a later operator or to a second output")
            if op.dtype not in DTYPE_BYTES:
                raise ShapeError(f"{op.name}: dtype {op.dtype!r}; there are {', '.join(DTYPE_BYTES)}")
            shape, full = resolve(op.kind, op.name, self.input_shapes(op), op.attributes)
            if shape != op.shape:
                raise ShapeError(f"{op.name} ({op.kind}): stored shape {op.shape}, inferred {shape}")
            if tuple(full.items()) != op.attrs:
                raise ShapeError(f"{op.name} ({op.kind}): stored attributes {op.attributes}, complete are {full}")
        if list(self.exits) != sorted(set(self.exits)) or self.exits[-1] >= len(self.ops) or self.exits[0] < 0:
            raise ShapeError(f"exits {self.exits} must be increasing indices of operators")
        used = {source for op in self.ops for source, _ in op.inputs}.union(self.exits)
        for index, op in enumerate(self.ops):
            # What nobody reads would be counted and priced here, and dropped by every runtime.
            if index not in used and op.kind != "input":
                raise ShapeError(f"{op.name} ({op.kind}): no answer depends on it; leave it out, or make it an exit")

    def input_shapes(self, op: Op) -> tuple[Shape, ...]:
        """The shapes of the tensors that `op` reads."""
        return tuple(self.ops[source].shape for source, _ in op.inputs)

    @cached_property
    def by_name(self) -> dict[str, Op]:
        """The operators by name."""
        return {op.name: op for op in self.ops}

    def op(self, name: str) -> Op:
        """The operator of that name; raises KeyError."""
        return self.by_name[name]

    @property
    def inputs(self) -> tuple[Op, ...]:
        """The named inputs, in order."""
        return tuple(op for op in self.ops if op.kind == "input")

    def weights(self, op: Op) -> dict[str, Weight]:
        """The arrays stored for `op`, by parameter."""
        return OPERATORS[op.kind].weights(self.input_shapes(op), op.attributes)

    @cached_property
    def weight_shapes(self) -> dict[str, Weight]:
        """Every stored array of the network under the key `operator/parameter`."""
        return {f"{op.name}/{param}": weight for op in self.ops for param, weight in self.weights(op).items()}

    def op_macs(self, op: Op) -> int:
        """Multiply-adds of one operator for one sample."""
        return OPERATORS[op.kind].macs(self.input_shapes(op), op.shape, op.attributes)

    def op_flops(self, op: Op) -> int:
        """All arithmetic of one operator for one sample."""
        return OPERATORS[op.kind].flops(self.input_shapes(op), op.shape, op.attributes)

    def _count(self, indices: Iterable[int]) -> Counts:
        macs = flops = params = weight_bytes = 0
        for index in indices:
            op = self.ops[index]
            macs += self.op_macs(op)
            flops += self.op_flops(op)
            for weight in self.weights(op).values():
                params += weight.size * weight.trainable
                weight_bytes += weight.size * DTYPE_BYTES[op.dtype]
        return Counts(macs, flops, params, weight_bytes)

    @cached_property
    def total(self) -> Counts:
        """Costs of everything, all exits included."""
        return self._count(range(len(self.ops)))

    @property
    def macs(self) -> int:
        """Multiply-adds of one sample that passes every exit."""
        return self.total.macs

    @property
    def flops(self) -> int:
        """All arithmetic of one sample that passes every exit."""
        return self.total.flops

    @property
    def params(self) -> int:
        """Trained parameters: weights, biases and batch-norm affine; running statistics do not count."""
        return self.total.params

    @property
    def weight_bytes(self) -> int:
        """Bytes of all stored arrays, running statistics included (they vanish when batch norm is folded)."""
        return self.total.weight_bytes

    def cumulative(self, exit_index: int) -> Counts:
        """Costs of a sample that leaves at the given exit: everything on the way, all passed heads included.

        -1 is the last exit; raises IndexError where there is no such exit.
        """
        passed = self.exits[: range(len(self.exits))[exit_index] + 1]
        return self._count(sorted(set().union(*(self._ancestors(e) for e in passed))))

    def _ancestors(self, index: int) -> frozenset[int]:
        return self._ancestor_sets[index]

    @cached_property
    def _ancestor_sets(self) -> tuple[frozenset[int], ...]:
        sets: list[frozenset[int]] = []
        for index, op in enumerate(self.ops):
            sets.append(frozenset({index}).union(*(sets[source] for source, _ in op.inputs)))
        return tuple(sets)

    @cached_property
    def peak_memory(self) -> int:
        """Largest sum of live activation bytes for one sample; see `memory.peak_memory`."""
        return peak_memory(self.ops, self.exits)

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON form: equal networks, names included, have equal keys."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def segments(self) -> tuple[Segment, ...]:
        """One standalone network per exit: what has to run after the previous exit declined to answer."""
        return self._segments

    @cached_property
    def _segments(self) -> tuple[Segment, ...]:
        owner: dict[int, int] = {}
        for number, end in enumerate(self.exits):
            for index in self._ancestors(end):
                owner.setdefault(index, number)
        taken: list[dict[int, None]] = [{} for _ in self.exits]
        given: list[dict[int, None]] = [{} for _ in self.exits]
        for index in sorted(owner):
            for source, _ in self.ops[index].inputs:
                if self.ops[source].kind == "input":
                    taken[owner[index]].setdefault(source)
                elif owner[source] != owner[index]:
                    taken[owner[index]].setdefault(source)
                    given[owner[source]].setdefault(source)
        parts = []
        for number, end in enumerate(self.exits):
            builder = Builder()
            entering = {index: self.ops[index] for index in taken[number]}
            place = {index: builder.input(op.name, op.shape, op.dtype) for index, op in entering.items()}
            for index in sorted(i for i, n in owner.items() if n == number and self.ops[i].kind != "input"):
                place[index] = builder.copy(self.ops[index], *(place[s] for s, _ in self.ops[index].inputs))
            network = builder.network(place[end])
            names = tuple(op.name for op in entering.values())
            parts.append(Segment(network, names, tuple(self.ops[index].name for index in given[number])))
        return tuple(parts)

    def to_json(self) -> str:
        """One line of JSON that `from_json` turns into an equal network."""
        ops = [[o.kind, o.name, [list(r) for r in o.inputs], list(o.shape), o.dtype, dict(o.attrs)] for o in self.ops]
        return json.dumps({"schema": self.schema, "ops": ops, "exits": list(self.exits)}, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Network:
        """The network of a line written by `to_json`; raises ShapeError for another schema or a broken network."""
        try:
            data = json.loads(text)
            if not isinstance(data, dict) or data.get("schema") != SCHEMA:
                raise ShapeError(f"this is not a network of schema {SCHEMA}")
            ops = tuple(
                Op(kind, name, tuple((int(a), int(b)) for a, b in inputs), tuple(shape), dtype, _freeze(attrs))
                for kind, name, inputs, shape, dtype, attrs in data["ops"]
            )
            return Network(ops, tuple(data["exits"]))
        except ShapeError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ShapeError(f"this is not a network: {error}") from error


def _freeze(attrs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in attrs.items())


class Builder:
    """Collects operators; infers each shape once, and raises ShapeError naming the operator and the shapes.

    >>> b = Builder()
    >>> x = b("conv", "stem", b.input("image", (3, 32, 32)), filters=8, kernel=3, stride=2)
    >>> b.shape(x)
    (8, 16, 16)
    """

    def __init__(self) -> None:
        self._ops: list[Op] = []

    def input(self, name: str, shape: Shape, dtype: str = "float32") -> Ref:
        """Add a named input of the given shape (no batch)."""
        return self._add("input", name, (), dtype, {"shape": shape})

    def __call__(self, kind: str, name: str, *inputs: Ref, **attrs: Any) -> Ref:
        """Add an operator and return the reference to its output."""
        return self._add(kind, name, inputs, "float32", attrs)

    def copy(self, op: Op, *inputs: Ref, **changed: Any) -> Ref:
        """Add an operator like `op` that reads other tensors, with the changed attributes."""
        return self._add(op.kind, op.name, inputs, op.dtype, op.attributes | changed)

    def _add(self, kind: str, name: str, inputs: tuple[Ref, ...], dtype: str, attrs: Mapping[str, Any]) -> Ref:
        shapes = tuple(self._ops[index].shape for index, _ in inputs)
        shape, full = resolve(kind, name, shapes, attrs)
        self._ops.append(Op(kind, name, inputs, shape, dtype, tuple(full.items())))
        return (len(self._ops) - 1, 0)

    def shape(self, ref: Ref) -> Shape:
        """The shape of a tensor that was added before."""
        return self._ops[ref[0]].shape

    def network(self, *exits: Ref, genome: tuple[int, ...] | None = None) -> Network:
        """The finished network with the given answers, in order of execution, and the `genome` it was decoded from."""
        return Network(tuple(self._ops), tuple(index for index, _ in exits), genome=genome)
