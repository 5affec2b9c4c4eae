"""A multilayer perceptron from the encoding to seconds, as LightNAS predicts them, and differentiable.

One-hot genes -> 128 -> 64 -> 1, ReLU (Luo et al. 2022, "You Only Search Once", arXiv 2208.14446). It takes hundreds of
measured networks where a calibrated roofline takes ten, and stands here for two reasons: as a baseline, and because a
differentiable search needs seconds of a mixture of choices. It prices genomes and not networks, since a network does
not know its genome; a table of any space given as integers will do. It knows the worst case alone, no exits.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.arrays import read_arrays, understood
from latency_models.base import Floats

SCHEMA: Final = 1
HIDDEN: Final = (128, 64)
#: The output is a soft plus this steep, which is positive and a straight line over all but the smallest seconds.
_SHARPNESS: Final = 10.0
#: Share of the networks whose errors give the uncertainty, and the number of steps.
_HELD_OUT: Final = 0.2
_STEPS: Final = 1200
_CHECK_EVERY: Final = 200
_RATE: Final = 3e-3
_DECAYS: Final = (1.0, 3.0)
#: With fewer networks nothing is held out and nothing is learnt.
FEWEST: Final = 20
Weights = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, eq=False)
class Mlp:
    """Seconds of genomes whose genes have `options` options each, on `target`.

    `weights`: matrix and bias of each layer. `scale_s`: what an output of one stands for. `error`: relative error (root
    mean square) on networks held out of the fit; `networks`: how many were measured.
    """

    target: Target
    options: tuple[int, ...]
    weights: Weights
    scale_s: float
    error: float
    networks: int

    def latency_s(self, genomes: NDArray[np.integer[Any]]) -> Floats:
        """Seconds of canonical genomes [n, genes], worst case [n]; raises ValueError for a gene out of range."""
        x = onehot(genomes, self.options)
        layers = len(self.weights) // 2
        for layer in range(layers):
            x = x @ self.weights[2 * layer] + self.weights[2 * layer + 1]
            if layer < layers - 1:
                x = np.maximum(x, 0)
        return np.asarray(self.scale_s * np.logaddexp(0, _SHARPNESS * x[:, 0].astype(np.float64)) / _SHARPNESS)

    def std_s(self, genomes: NDArray[np.integer[Any]]) -> Floats:
        """Standard deviation of `latency_s` [n], from the networks held out."""
        return self.error * self.latency_s(genomes)

    def differentiable(self) -> Callable[[Any], Any]:
        """The same seconds as a function of jax arrays: (soft) one-hot rows [..., options in all] to seconds [...]."""
        import jax.numpy as jnp

        weights = tuple(jnp.asarray(array) for array in self.weights)

        def seconds(encoded: Any) -> Any:
            return self.scale_s * _forward(weights, encoded)

        return seconds

    def save(self, file: str | Path | BinaryIO) -> None:
        """Write everything as npz without pickle."""
        header = {
            "schema": SCHEMA,
            "target": asdict(self.target),
            "options": self.options,
            "scale_s": self.scale_s,
            "error": self.error,
            "networks": self.networks,
        }
        buffer = io.BytesIO()
        arrays = {f"weight_{i}": array for i, array in enumerate(self.weights)}
        np.savez(buffer, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
        if isinstance(file, str | Path):
            Path(file).write_bytes(buffer.getvalue())
        else:
            file.write(buffer.getvalue())

    @staticmethod
    def load(file: str | Path | BinaryIO) -> Mlp:
        """Read what `save` wrote; raises ValueError for another schema or a foreign file."""
        with understood(f"{file}: is not a stored perceptron"):
            data = read_arrays(file)
            header = json.loads(str(data["header"]))
            if header["schema"] != SCHEMA:
                raise ValueError(f"schema {header['schema']}; this release reads {SCHEMA}")
            weights = tuple(data[f"weight_{i}"] for i in range(2 * len(HIDDEN) + 2))
            return Mlp(
                Target(**header["target"]),
                tuple(header["options"]),
                weights,
                header["scale_s"],
                header["error"],
                header["networks"],
            )


def onehot(genomes: NDArray[np.integer[Any]], options: Sequence[int]) -> NDArray[np.float32]:
    """One column per option of each gene, side by side [n, options in all]; raises ValueError out of range."""
    genomes = np.asarray(genomes)
    if genomes.ndim != 2 or genomes.shape[1] != len(options):
        raise ValueError(f"genomes of shape {genomes.shape} do not have the {len(options)} genes of this model")
    if (genomes < 0).any() or (genomes >= np.array(options)).any():
        raise ValueError(f"a gene is outside its options {tuple(options)}; the genomes are of another space")
    rows = np.zeros((len(genomes), sum(options)), np.float32)
    first = np.concatenate(([0], np.cumsum(options)[:-1])).astype(np.int64)
    rows[np.arange(len(genomes))[:, None], genomes + first] = 1
    return rows


def fit(
    target: Target,
    options: Sequence[int],
    genomes: NDArray[np.integer[Any]],
    seconds: Sequence[float] | Floats,
    seed: int = 0,
) -> Mlp:
    """Fit to measured seconds [n] of genomes [n, genes] by relative squared error (Adam with weight decay).

    A fifth is held out first: its error is the uncertainty, and it says how long and with which decay to train on all.
    Raises ValueError for fewer than FEWEST networks or seconds that are not positive.
    """
    measured = np.asarray(seconds, np.float64)
    if len(measured) != len(genomes) or len(measured) < FEWEST:
        raise ValueError(f"{len(genomes)} genomes with {len(measured)} latencies; a perceptron needs {FEWEST} or more")
    if not (np.isfinite(measured).all() and (measured > 0).all()):
        raise ValueError("measured latencies must be positive seconds")
    scale_s = float(np.median(measured))
    x, y = onehot(genomes, options), (measured / scale_s).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(y))
    held, kept = np.split(order, [max(1, round(_HELD_OUT * len(y)))])
    best = (np.inf, _CHECK_EVERY, _DECAYS[0])
    for decay in _DECAYS:
        _, errors = _train(x[kept], y[kept], x[held], y[held], seed, _STEPS, decay)
        found = int(np.argmin(errors))
        best = min(best, (float(errors[found]), (found + 1) * _CHECK_EVERY, decay))
    error, steps, decay = best
    weights, _ = _train(x, y, x, y, seed, steps, decay)
    return Mlp(target, tuple(int(n) for n in options), weights, scale_s, error, len(y))


def _forward(weights: Sequence[Any], x: Any) -> Any:
    import jax

    for matrix, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = jax.nn.relu(x @ matrix + bias)
    return jax.nn.softplus(_SHARPNESS * (x @ weights[-2] + weights[-1]))[..., 0] / _SHARPNESS


def _train(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    held_x: NDArray[np.float32],
    held_y: NDArray[np.float32],
    seed: int,
    steps: int,
    decay: float,
) -> tuple[Weights, Floats]:
    """Weights after `steps` steps on everything at once, and the relative error on held-out rows at every check."""
    import jax
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(seed)
    sizes = (x.shape[1], *HIDDEN, 1)
    weights: list[NDArray[np.float32]] = []
    for fan_in, fan_out in pairwise(sizes):
        weights.append((rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)).astype(np.float32))
        weights.append(np.zeros(fan_out, np.float32))
    # Every network takes about one scale to begin with.
    weights[-1] += 1
    # The length of training is chosen, so the rate must not depend on where it ends.
    optimiser = optax.adamw(_RATE, weight_decay=decay)

    def loss(parameters: Any) -> Any:
        return jnp.mean((_forward(parameters, x) / y - 1) ** 2)

    def step(state: Any, _: Any) -> Any:
        parameters, moments = state
        updates, moments = optimiser.update(jax.grad(loss)(parameters), moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), None

    @jax.jit
    def some(state: Any) -> Any:
        state, _ = jax.lax.scan(step, state, None, length=_CHECK_EVERY)
        return state, jnp.sqrt(jnp.mean((_forward(state[0], held_x) / held_y - 1) ** 2))

    parameters = tuple(jnp.asarray(array) for array in weights)
    state, errors = (parameters, optimiser.init(parameters)), []
    for _ in range(steps // _CHECK_EVERY):
        state, error = some(state)
        errors.append(float(error))
    return tuple(np.asarray(array) for array in state[0]), np.array(errors)
