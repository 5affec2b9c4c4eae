"""Passes through networks with untrained weights, all networks of a space by one compiled program each.

The program is that of the supernet: the genome enters as integers, and what a network does not have is masked. Its
weights are those of shared weights before training, cut to its size. Early exits are left out; what counts is the path
to the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.nn import backend
from nas.nn.programs import Program
from nas.nn.weights import initialise, slot_networks, supernet_shapes
from nas.supernet.elastic import Supernet
from nas.supernet.masks import MaskedPass
from nas.supernet.union import Member
from search_spaces.ir import Network
from search_spaces.operators import ACTIVATIONS
from search_spaces.slots import Genome, Genomes, SearchSpace, fold

Floats = NDArray[np.float64]

#: The input of the pass with positive weights, in place of ones. Where nothing is normalised its growth from layer to
#: layer takes hundreds of decades: so small that ReLU6 clips nothing and sigmoids stay straight, in float64.
FLOW_INPUT: Final = 1e-150
_TOTAL: Final = "agreement"
#: What an activation gives where its input is zero, if that is not zero.
_AT_ZERO: Final = {"hard_sigmoid": 0.5}


class LastExit:
    """A space as if its networks had no exit but their last; satisfies `SearchSpace`."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self.name, self.genes = space.name, space.genes
        self.input_shape, self.classes = space.input_shape, space.classes
        self.slots = tuple(slot for slot in space.slots if slot.role != "exit")
        self.exit_sites = space.exit_sites[-1:]

    def canonical(self, genomes: Genomes) -> Genomes:
        """Genomes [n, genes] without early exits as far as these can be turned off."""
        result = np.array(genomes)
        for site in self._space.exit_sites:
            if site.gene is not None:
                result[:, site.gene] = site.off
        return self._space.canonical(result)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Whether each gene of canonical genomes [n, genes] has an effect in the whole space."""
        return self._space.active(genomes)

    def decode(self, genome: Genome) -> Network:
        """The network of one genome, with its last exit alone; genomes are those of the space."""
        return fold(self, self.canonical(np.asarray(genome)[None])[0])


class Agreement:
    """Counts, for each pair of images, the units of activations that are on one side of zero; satisfies `Watch`."""

    def totals(self, images: Array) -> dict[str, Array]:
        """None yet [images, images]."""
        return {_TOTAL: jnp.zeros((len(images), len(images)), jnp.float32)}

    def __call__(self, here: MaskedPass, member: Member, output: Array) -> None:
        """Add the units of one activation, those that the combination has."""
        kind = member.op.kind
        if kind not in ACTIVATIONS:
            return
        # All of them are above their value at zero exactly where their input is above zero.
        on = (output > _AT_ZERO.get(kind, 0.0)).astype(jnp.float32)
        # Masked channels are alike in all images, and would count as agreeing.
        codes = [here.cleaned(member, side).reshape(len(side), -1) for side in (on, 1 - on)]
        agree = sum(code @ code.T for code in codes)
        here.found[_TOTAL] = here.found[_TOTAL] + jnp.where(here.pick(member.present), agree, 0)


@dataclass(frozen=True, eq=False)
class Start:
    """Untrained weights by name, their positive double for `Passes.flow`, and images [n, channels, height, width]."""

    params: Mapping[str, Array]
    positive: Mapping[str, Array]
    images: Array


class Passes:
    """The compiled passes over the networks of a space, chosen by a row of `Supernet.choices` each.

    Raises SpaceError for a space whose networks cannot share weights.
    """

    def __init__(self, space: SearchSpace) -> None:
        backend.prepare()
        self.space = LastExit(space)
        self.supernet = Supernet(self.space)
        self._shapes = supernet_shapes(self.space)
        self._agreement, self._jacobian = Program(self._agreements), Program(self._slopes)
        self._flow = Program(self._flows)
        self._kernels = [name for name, weight in self._shapes.items() if weight.role == "kernel"]

    def start(self, seed: int, images: NDArray[np.float32]) -> Start:
        """Weights as a seed draws them, and images."""
        weights = initialise(self._shapes, seed)
        params = {name: jnp.asarray(weights[name]) for name, weight in self._shapes.items() if weight.trainable}
        positive = {name: np.abs(value, dtype=np.float64) for name, value in weights.items()}
        for network in slot_networks(self.space):
            for op in network.ops:
                if op.kind == "batch_norm":
                    # So that it hands on what it is given.
                    positive[f"{op.name}/variance"][:] = 1 - op.attr("eps")
        with jax.enable_x64(True):
            return Start(params, {name: jnp.asarray(value) for name, value in positive.items()}, jnp.asarray(images))

    def agreement(self, start: Start, combination: NDArray[np.int32]) -> NDArray[np.float32]:
        """For how many units of activations each pair of images is on the same side of zero [n, n]."""
        return np.asarray(self._agreement(start.params, start.images, combination))

    def jacobian(self, start: Start, combination: NDArray[np.int32]) -> NDArray[np.float32]:
        """The slope of the sum of all answers at each image [n, channels * height * width], statistics held."""
        return np.asarray(self._jacobian(start.params, start.images, combination)).reshape(len(start.images), -1)

    def flow(self, start: Start, combination: NDArray[np.int32]) -> dict[str, float]:
        """For each kernel by name the sum of w dR/dw, where weights are positive and R answers to `FLOW_INPUT`."""
        with jax.enable_x64(True):
            found = np.asarray(self._flow(start.positive, combination))
        return dict(zip(self._kernels, found.tolist(), strict=True))

    @cached_property
    def _watched(self) -> Supernet:
        return Supernet(self.space, Agreement())

    def _agreements(self, params: Mapping[str, Array], images: Array, combination: Array) -> Array:
        return self._watched.forward(params, {}, images, combination, "train")[1][_TOTAL]

    def _slopes(self, params: Mapping[str, Array], images: Array, combination: Array) -> Array:
        # By the statistics of the batch, which are held: through these every image would depend on all others, and
        # behind a last batch norm without activation the sum of all answers on none.
        stats = self.supernet.forward(params, {}, images, combination, "calibrate")[1]

        def total(images: Array) -> Array:
            return self.supernet.forward(params, stats, images, combination, "eval")[0][-1].sum()

        slopes: Array = jax.grad(total)(images)
        return slopes

    def _flows(self, weights: Mapping[str, Array], combination: Array) -> Array:
        image = jnp.full((1, *self.space.input_shape), FLOW_INPUT, jnp.float64)
        kernels = {name: weights[name] for name in self._kernels}

        def answer(kernels: dict[str, Array]) -> Any:
            return self.supernet.forward({**weights, **kernels}, weights, image, combination, "eval")[0][-1].sum()

        slopes = jax.grad(answer)(kernels)
        return jnp.stack([(kernels[name] * slopes[name]).sum() for name in self._kernels])
