"""Train the shared weights once; the search and the winners start from them.

Writes supernet.safetensors, which is also the checkpoint: weights, optimiser and step together, so that a killed
training goes on as if it had not stopped; and before it supernet_images.npz, which images they see.
"""

from __future__ import annotations

import time

from nas.outlook.effort import step_flops
from nas.outlook.rate import learn
from nas.process.files import atomic_write_bytes
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.reuse import take_weights, write_seen
from nas.run.supernet import planned_supernet
from nas.run.training import load_checkpoint, require_same_kernels, steps_progress

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
        if not path.exists():
            take_weights(context.experiment, context.run, context.data)
            context.voice.note(f"shared weights of {context.experiment.supernet.reuse}")
        return
    trainer = planned_supernet(context)
    state = load_checkpoint(path, trainer.load) if path.exists() else trainer.start()
    first, begun_s = state.step, time.perf_counter()
    if state.step < trainer.recipe.steps:
        write_seen(context.files, context.data)
    with steps_progress(context, "supernet", trainer.recipe.steps, state.step) as report:
        trainer.run(
            state,
            every=max(1, trainer.recipe.steps // _CHECKPOINTS),
            checkpoint=lambda reached: atomic_write_bytes(path, trainer.save(reached)),
            progress=report,
        )
    # What `nas check` will expect of the next training.
    learn(step_flops(context.experiment, context.space) * (trainer.recipe.steps - first), time.perf_counter() - begun_s)
