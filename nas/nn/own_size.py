"""Is a network that every step trains worth a program of its own size, which has to be compiled for it?

Without one it runs through the program that all networks share, where every operator that it has is as large as the
largest. The answer follows from the recipe and from counts alone, so that a training that is resumed computes as one
that never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from jax import Array

from nas.nn.loop import Params, Recipe

#: Multiply-adds of the forward passes that are trained with in the processor seconds of compiling one operator. For the
#: smallest network of the mobile space, in batches of 64, compiling took as long as 591, 125 and 31 steps saved at 8x8,
#: 28x28 and 32x32 (AMD EPYC), which are 2.4e8, 6.5e8 and 5.0e8 per operator.
_COMPILED_OPERATOR: Final = 5e8
#: What is saved must be that many times what is compiled: one core compiles, and all train.
_MARGIN: Final = 4.0


class OwnSize(NamedTuple):
    """A network as a function to be traced at its own size.

    `logits(params, images, scales)` are `trainer.Trainable.logits` of it, with zeros where it has no exit. `macs` are
    its multiply-adds for one image, `shared_macs` those that the program for all does for it, and `operators` how many
    operators are compiled.
    """

    logits: Callable[[Params, Array, tuple[Array, Array] | None], Array]
    operators: int
    macs: int
    shared_macs: int


def pays(own: OwnSize, recipe: Recipe) -> bool:
    """Whether a training of that many steps saves clearly more time than the program takes to compile."""
    saved = recipe.steps * recipe.batch_size * (own.shared_macs - own.macs)
    return saved >= _MARGIN * own.operators * _COMPILED_OPERATOR
