"""Is a network that every step trains worth a program of its own size, which has to be compiled for it?

Without one it runs through the program that all networks share, at the cost of the largest and of the masks. The
answer follows from the recipe and from counts alone, so that a training that is resumed, or timed before its length is
known, computes as one that never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from jax import Array

from nas.nn.loop import Params, Recipe

#: What the masks and branches of the shared program add to the time of its multiply-adds.
_MASKS: Final = 0.1
#: Multiply-adds of a forward pass of training that a machine does in the time of compiling one operator.
_COMPILED_OPERATOR: Final = 1e9
#: The time saved must be that many times what is compiled: where there are more cores, training gains more than
#: compiling.
_MARGIN: Final = 2.0


class OwnSize(NamedTuple):
    """A network as a function to be traced at its own size.

    `logits(params, images, scales)` are `trainer.Trainable.logits` of it, with zeros where it has no exit. `macs` are
    its multiply-adds for one image, `shared_macs` those of the program for all networks, `operators` what is compiled.
    """

    logits: Callable[[Params, Array, tuple[Array, Array] | None], Array]
    operators: int
    macs: int
    shared_macs: int


def pays(own: OwnSize, recipe: Recipe) -> bool:
    """Whether a training of that many steps saves clearly more time than the program takes to compile."""
    saved = (1 + _MASKS) * own.shared_macs - own.macs
    return recipe.steps * recipe.batch_size * saved >= _MARGIN * own.operators * _COMPILED_OPERATOR
