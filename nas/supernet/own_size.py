"""One network of a space at its own size: the shared weights are cut for it within the compiled program.

In the masked program (`elastic`) every slot that is there costs what its largest combination does; a network that is
known beforehand need not. It is built from the slots, with every exit that is legal for it, however many it may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.nn import interpreter
from nas.nn.normalisation import scale_gradient
from nas.nn.own_size import OwnSize
from nas.nn.weights import cut
from nas.supernet.elastic import Supernet
from nas.supernet.union import Union
from search_spaces.ir import Network
from search_spaces.operators import OPERATORS
from search_spaces.slots import IMAGE


def own_size(supernet: Supernet, genome: NDArray[np.int64]) -> OwnSize:
    """The network of a genome [genes] as a function of the shared weights, with what its program costs."""
    parts = own_parts(supernet, genome)
    there = [part for part in parts if part is not None]

    def logits(params: Mapping[str, Array], images: Array, scales: tuple[Array, Array] | None = None) -> Array:
        return _forward(supernet, parts, params, images, scales)

    macs = sum(part.macs for part in there)
    return OwnSize(logits, sum(len(part.ops) for part in there), macs, _shared_macs(supernet, genome))


def own_parts(supernet: Supernet, genome: NDArray[np.int64]) -> list[Network | None]:
    """Each slot's network for a genome [genes]; None where a body slot is absent and where an exit is not legal."""
    chosen = supernet.choices(genome[None])
    legal = dict(zip(supernet.positions, chosen.legal[0].tolist(), strict=True))
    parts = []
    for number, (plan, combination) in enumerate(zip(supernet.plans, chosen.combination[0].tolist(), strict=True)):
        values = next(islice(plan.slot.combinations(), combination, None))
        parts.append(plan.slot.network(values) if legal.get(number, True) else None)
    return parts


def _shared_macs(supernet: Supernet, genome: NDArray[np.int64]) -> int:
    """Multiply-adds for one image of a genome [genes] in the masked program: slots that are there, at their largest."""
    combination = supernet.choices(genome[None]).combination[0]
    entries = [plan.entry[chosen] for plan, chosen in zip(supernet.plans, combination, strict=True)]
    return sum(_macs(plan.unions[n]) for plan, n in zip(supernet.plans, entries, strict=True) if n < len(plan.unions))


def _macs(union: Union) -> int:
    """Multiply-adds of a slot's masked operators for one image."""
    ops = [member.op for member in union.members]
    return sum(
        OPERATORS[op.kind].macs(tuple(ops[source].shape for source, _ in op.inputs), op.shape, op.attributes)
        for op in ops
    )


def _forward(
    supernet: Supernet,
    parts: list[Network | None],
    params: Mapping[str, Array],
    images: Array,
    scales: tuple[Array, Array] | None,
) -> Array:
    """Logits [positions, n, classes] as `Supernet.forward` gives them, and zeros at positions without an exit."""
    values = {IMAGE: interpreter.to_private(images)}
    answers: dict[int, Array] = {}
    for number, (plan, part) in enumerate(zip(supernet.plans, parts, strict=True)):
        names = plan.slot.inputs
        inputs = {name: values[name] for name in names}
        if part is None:
            if plan.slot.role == "body":
                values[plan.slot.name] = values[names[0]]
            continue
        if number in supernet.positions:
            position = supernet.positions.index(number)
            if scales is not None:
                inputs[names[0]] = scale_gradient(values[names[0]], scales[0][position])
                values[names[0]] = scale_gradient(values[names[0]], scales[1][position])
            answers[position] = _run(part, params, inputs).reshape(len(images), -1)
        else:
            values[plan.slot.name] = _run(part, params, inputs)
    none = jnp.zeros_like(answers[len(supernet.positions) - 1])
    return jnp.stack([answers.get(position, none) for position in range(len(supernet.positions))])


def _run(part: Network, params: Mapping[str, Array], inputs: Mapping[str, Array]) -> Array:
    """A slot's output with its part of the shared weights."""
    shapes = part.weight_shapes
    own = {name: cut(params[name], weight.shape) for name, weight in shapes.items() if weight.trainable}
    return interpreter.run(part, own, {}, inputs, "train").outputs[0]
