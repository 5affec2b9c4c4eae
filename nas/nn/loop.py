"""The training loop that supernet and single networks share: steps, checkpoints, resumption.

A resumed training continues as if it had never stopped: everything a step draws derives from (seed, step), and the
state on disk is complete. On one machine with one number of threads the results are equal bit by bit.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray

from nas.errors import InputError
from nas.nn.weights import from_bytes, to_bytes

Params = dict[str, Array]

_PARAMS: Final = "params/"
_OPTIMISER: Final = "optimiser/"
_AVERAGE: Final = "average/"
_BESIDE: Final = "beside/"


@dataclass(frozen=True)
class Recipe:
    """How weights are trained: SGD with Nesterov momentum, linear warm-up, cosine decay.

    `warmup` is a share of the `steps`; `weight_decay` acts on kernels alone; gradients longer than `clip` are scaled
    down to it; `zero_residual` starts residual blocks as the identity. For `distillation` and `exit_weight` see
    `losses.exits_loss`, for `equilibrium` the function of that name. `final_rate` is the share of the learning rate
    that is left at the end. What comes out are the weights of the last step or, where `averaging` is more than 0, their
    average, which reaches back over that share of the steps.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 0.1
    warmup: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    distillation: float = 0.5
    exit_weight: float = 1.0
    equilibrium: bool = False
    clip: float = 10.0
    zero_residual: bool = False
    final_rate: float = 0.0
    averaging: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 0 or not 0 <= self.warmup < 1:
            raise InputError(f"training of {self.steps} steps with a warm-up share of {self.warmup} is not possible")
        if not 0 <= self.distillation <= 1 or not 0 <= self.label_smoothing < 1 or self.exit_weight < 0:
            raise InputError(
                f"distillation {self.distillation} must be in [0, 1], label_smoothing {self.label_smoothing} in "
                f"[0, 1), exit_weight {self.exit_weight} at least 0"
            )
        if not 0 <= self.final_rate <= 1 or not 0 <= self.averaging <= 1:
            raise InputError(
                f"final_rate {self.final_rate} and averaging {self.averaging} are shares, and must be in [0, 1]"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with; those of older releases know nothing of what came later, and had none."""
        later = {"final_rate", "averaging"}
        return {name: value for name, value in asdict(self).items() if value or name not in later}

    def optimiser(self) -> optax.GradientTransformation:
        """The update rule for parameters by weight name."""
        warm = round(self.warmup * self.steps)
        schedule = optax.join_schedules(
            [
                optax.linear_schedule(self.learning_rate / (warm + 1), self.learning_rate, max(warm, 1)),
                optax.cosine_decay_schedule(self.learning_rate, max(self.steps - warm, 1), self.final_rate),
            ],
            [warm],
        )

        def kernels(params: Params) -> dict[str, bool]:
            return {name: name.endswith("/kernel") for name in params}

        return optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.add_decayed_weights(self.weight_decay, kernels),
            optax.sgd(schedule, self.momentum, nesterov=True),
        )


@dataclass(frozen=True)
class Average:
    """The average of a training's weights: of all steps at first, then reaching back over about `reach` of them."""

    params: Params
    reach: float

    def and_those_of(self, params: Params, step: int) -> Average:
        """With the weights of a step, from 1 on; the arrays that it has now are used up."""
        return Average(_towards(self.params, params, 1 / min(step, self.reach)), self.reach)


@partial(jax.jit, donate_argnums=0)
def _towards(mean: Params, params: Params, share: float) -> Params:
    moved: Params = jax.tree.map(lambda kept, value: kept + share * (value - kept), mean, params)
    return moved


@dataclass(frozen=True)
class State:
    """A training between two steps; `average` is that of its weights, where its recipe asks for one."""

    params: Params
    optimiser: Any
    step: int
    average: Average | None = None

    @property
    def trained(self) -> Params:
        """The weights that come out of the training, if it ends here."""
        return self.params if self.average is None else self.average.params


#: (params, optimiser, step) -> (params, optimiser, loss); may overwrite the arrays it is given.
Step = Callable[[Params, Any, int], tuple[Params, Any, Array]]


def start(recipe: Recipe, params: Mapping[str, NDArray[np.float32]]) -> State:
    """The state before the first step; `params` are copied."""
    copied = {name: jnp.array(value) for name, value in params.items()}
    average = None
    if recipe.averaging:
        reach = max(1.0, recipe.averaging * recipe.steps)
        average = Average({name: jnp.array(value) for name, value in params.items()}, reach)
    return State(copied, recipe.optimiser().init(copied), 0, average)


def save(state: State, identity: Mapping[str, Any], beside: Mapping[str, NDArray[np.float64]] | None = None) -> bytes:
    """A safetensors file of the whole state; `identity` says what it belongs to, and is JSON-able.

    `beside` is what goes on in step with the training, as arrays by name.
    """
    arrays = {_PARAMS + name: np.asarray(value) for name, value in state.params.items()}
    for name, value in _named(state.optimiser):
        arrays[_OPTIMISER + name] = np.asarray(value)
    if state.average is not None:
        arrays |= {_AVERAGE + name: np.asarray(value) for name, value in state.average.params.items()}
    arrays |= {_BESIDE + name: value for name, value in (beside or {}).items()}
    return to_bytes(arrays, {"step": state.step, **identity})


def load(data: bytes, template: State, identity: Mapping[str, Any], over: float = math.inf) -> State:
    """The state that `save` wrote; raises InputError if it belongs to another training, by `identity` or weights.

    From `over` steps on a training has ended, and only what its checkpoint says of itself has to agree.
    """
    arrays, metadata = from_bytes(data)
    ended = metadata["step"] >= over
    other = [
        key for key, value in identity.items() if metadata.get(key) != value and not (ended and key not in metadata)
    ]
    if other:
        raise InputError(
            f"the checkpoint belongs to another training: {other[0]} was {metadata.get(other[0])} and is "
            f"{identity[other[0]]}; remove it to begin anew"
        )
    params = _parameters(arrays, _PARAMS, template.params)
    average = template.average
    if average is not None:
        average = Average(_on_device(_parameters(arrays, _AVERAGE, average.params)), average.reach)
    leaves = [jnp.asarray(arrays[_OPTIMISER + name]) for name, _ in _named(template.optimiser)]
    optimiser = jax.tree.unflatten(jax.tree.structure(template.optimiser), leaves)
    return State(_on_device(params), optimiser, int(metadata["step"]), average)


def _on_device(arrays: Mapping[str, NDArray[np.float32]]) -> Params:
    return {name: jnp.asarray(value) for name, value in arrays.items()}


def beside(data: bytes) -> dict[str, NDArray[np.float64]]:
    """What `save` was given beside the training, by name."""
    stored = from_bytes(data)[0]
    return {name.removeprefix(_BESIDE): value for name, value in stored.items() if name.startswith(_BESIDE)}


def parameters(data: bytes, like: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """What came out of a training that `save` wrote, whichever it was: `State.trained`.

    `like` has arrays by name; raises InputError unless names and shapes are the same.
    """
    arrays = from_bytes(data)[0]
    return _parameters(arrays, _AVERAGE if any(name.startswith(_AVERAGE) for name in arrays) else _PARAMS, like)


def _parameters(
    arrays: Mapping[str, NDArray[Any]], prefix: str, like: Mapping[str, Any]
) -> dict[str, NDArray[np.float32]]:
    for name, value in like.items():
        found = arrays.get(prefix + name)
        if found is None or found.shape != value.shape:
            shape = "is missing" if found is None else f"has shape {found.shape}"
            raise InputError(f"the checkpoint belongs to another space: {name} {shape}, {value.shape} was expected")
    return {name: arrays[prefix + name] for name in like}


def _named(tree: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def run(
    state: State,
    until: int,
    step: Step,
    *,
    every: int = 0,
    checkpoint: Callable[[State], None] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> State:
    """Train to step `until`; calls `checkpoint` after each `every` steps and at the end, `progress(step, loss)` each
    step.

    Raises InputError when the loss is no longer a number.
    """
    params, optimiser, number, average = state.params, state.optimiser, state.step, state.average
    pending: Array | None = None
    while number < until:
        params, optimiser, loss = step(params, optimiser, number)
        number += 1
        if average is not None:
            average = average.and_those_of(params, number)
        # Reading the step before, not this one, lets the next batch be prepared while this one is computed.
        if pending is not None:
            _report(number - 1, pending, progress)
        pending = loss
        if checkpoint is not None and (number == until or (every and number % every == 0)):
            # A state that is no longer finite must not replace the last good one.
            _report(number, loss, progress)
            pending = None
            checkpoint(State(params, optimiser, number, average))
    if pending is not None:
        _report(number, pending, progress)
    return State(params, optimiser, number, average)


def time_steps(state: State, step: Step, steps: int) -> list[float]:
    """Seconds of each of `steps` steps after a first one, which compiles; the state's arrays are used up."""
    state = run(state, state.step + 1, step)
    seconds = []
    for _ in range(steps):
        begin = time.perf_counter()
        state = run(state, state.step + 1, step)
        jax.block_until_ready(state.params)
        seconds.append(time.perf_counter() - begin)
    return seconds


def _report(step: int, loss: Array, progress: Callable[[int, float], None] | None) -> None:
    value = float(loss)
    if not math.isfinite(value):
        raise InputError(f"training diverged: the loss of step {step} is {value}; lower the learning rate")
    if progress is not None:
        progress(step, value)


def steps_within(seconds: float, step_s: Sequence[float], most: int) -> int:
    """How many steps fit into `seconds` when some took `step_s` each, at least 1 and at most `most`.

    Callers record the answer, so that a resumed training has the same schedule.
    """
    return max(1, min(most, int(seconds / statistics.median(step_s))))
