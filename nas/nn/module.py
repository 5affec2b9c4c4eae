"""A network of the IR as an ordinary flax module, for those who train or inspect winners with flax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from nas.nn.interpreter import Mode, apply, split
from search_spaces.ir import Network


class NetworkModule(nnx.Module):
    """`module(x)` gives the exits' logits for images [n, channels, height, width] of a network with one input.

    Weights are `nnx.Param`, running statistics `nnx.BatchStat`, both keyed by weight name `operator/parameter`. Mode
    "calibrate" sets the statistics to those of the batch. Training loops in this project call `interpreter.apply` on
    the same arrays, which is what this class traces to.
    """

    def __init__(self, network: Network, weights: Mapping[str, Any]) -> None:
        params, stats = split(network, weights)
        self.network = network
        self.params = nnx.Dict({name: nnx.Param(jnp.asarray(value)) for name, value in params.items()})
        self.stats = nnx.Dict({name: nnx.BatchStat(jnp.asarray(value)) for name, value in stats.items()})

    def __call__(self, x: Array, mode: Mode = "eval") -> tuple[Array, ...]:
        """Logits of each exit [n, classes], the last exit's last."""
        params = {name: value[...] for name, value in self.params.items()}
        stats = {name: value[...] for name, value in self.stats.items()}
        result = apply(self.network, params, stats, {self.network.inputs[0].name: x}, mode)
        for name, value in result.stats.items():
            self.stats[name][...] = value
        return result.outputs

    def weights(self) -> dict[str, Array]:
        """All arrays by weight name, running statistics included."""
        return {name: value[...] for group in (self.params, self.stats) for name, value in group.items()}
