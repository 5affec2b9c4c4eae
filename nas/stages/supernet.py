"""Train the shared weights once; the search and the winners start from them.

Writes supernet.safetensors, which is also the checkpoint: weights, optimiser and step together, and architecture
searches that go on in turns with the training, so that a killed one goes on as if it had not stopped; and before it
supernet_images.npz, which images they see.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.outlook.effort import step_flops
from nas.outlook.rate import learn
from nas.process.files import atomic_write_bytes
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.reuse import note_taken, take_weights, write_seen
from nas.run.supernet import planned_supernet, searches_in_turns
from nas.run.training import load_checkpoint, require_same_kernels, steps_progress
from nas.search.problem import problem_of

if TYPE_CHECKING:
    from nas.optimisers.turns import Turns

#: A checkpoint at least this many times per training; each costs a few milliseconds.
_CHECKPOINTS = 20


def train_supernet(context: Context) -> None:
    """Train to the last planned step, from the checkpoint if there is one."""
    with computing():
        _train(context)


def _train(context: Context) -> None:
    require_same_kernels(context)
    path = context.files.supernet
    if context.experiment.supernet.reuse is not None:
        if path.exists():
            note_taken(context.experiment, context.run)
        else:
            take_weights(context.experiment, context.run, context.data)
            context.voice.note(f"shared weights of {context.experiment.supernet.reuse}")
        return
    turns: Turns | None = None

    def wished(step: int) -> NDArray[np.int64] | None:
        return None if turns is None else turns.sample(step)

    trainer = planned_supernet(context, wished)
    turns = _turns(context, trainer.recipe.steps)
    state = load_checkpoint(path, trainer.load) if path.exists() else trainer.start()
    if turns is not None and 0 < state.step < trainer.recipe.steps:
        stored = searches_in_turns(context)
        if not stored and state.step > turns.first:
            # An older release began the training, or no budget can be kept: it is searched when the weights are done.
            turns = None
        else:
            turns.restore(stored, state.params)
    first, begun_s = state.step, time.perf_counter()
    if state.step < trainer.recipe.steps:
        write_seen(context.files, context.data)
    with steps_progress(context, "supernet", trainer.recipe.steps, state.step) as report:
        trainer.run(
            state,
            every=max(1, trainer.recipe.steps // _CHECKPOINTS),
            checkpoint=lambda reached: atomic_write_bytes(
                path, trainer.save(reached, turns.state() if turns else None)
            ),
            progress=report,
            after=turns.after if turns else None,
        )
    # What `nas check` will expect of the next training.
    spent_s = time.perf_counter() - begun_s - (turns.spent_s if turns else 0.0)
    learn(step_flops(context.experiment, context.space) * (trainer.recipe.steps - first), spent_s)


def _turns(context: Context, steps: int) -> Turns | None:
    """The searches in turns with the training, where the optimiser asks for a share of it."""
    spec = context.experiment.search.optimiser
    if spec is None:
        return None
    from nas.optimisers.base import in_turns
    from nas.optimisers.searches import turns

    optimiser = spec.load()(**spec.arguments)
    if not in_turns(optimiser):
        return None
    return turns(context, problem_of(context), optimiser, steps)
