"""Train the shared weights once; the search and the winners start from them.

Writes supernet.safetensors, which is also the checkpoint: weights, optimiser and step together, and architecture
searches that go on in turns with the training, so that a killed one goes on as if it had not stopped; and before it
supernet_images.npz, which images they see. Where a sweep compares its cells, the run may be stopped at a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.errors import StoppedEarly
from nas.outlook.effort import step_flops
from nas.outlook.rate import learn
from nas.process.files import atomic_write_bytes
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.progress import STOPPED
from nas.run.reuse import note_taken, take_weights, write_seen
from nas.run.rungs import Rungs
from nas.run.supernet import planned_supernet, searches_in_turns
from nas.run.training import load_checkpoint, require_same_kernels, steps_progress
from nas.search.problem import problem_of

if TYPE_CHECKING:
    from nas.nn.trainer import Trainer
    from nas.optimisers.turns import Turns
    from nas.search.rungs import RungJudge

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
        go_on = partial(
            trainer.run,
            every=max(1, trainer.recipe.steps // _CHECKPOINTS),
            checkpoint=lambda reached: atomic_write_bytes(
                path, trainer.save(reached, turns.state() if turns else None)
            ),
            progress=report,
            after=turns.after if turns else None,
        )
        judging_s = 0.0
        for step, compare in _rungs(context, trainer):
            # One that went on by itself beyond a rung is not stopped there any more.
            if step >= state.step:
                state, reached_s = go_on(state, step), time.perf_counter()
                compare(begun_s)
                judging_s += time.perf_counter() - reached_s
        go_on(state)
    # What `nas check` will expect of the next training.
    spent_s = time.perf_counter() - begun_s - judging_s - (turns.spent_s if turns else 0.0)
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


def _rungs(context: Context, trainer: Trainer) -> Iterator[tuple[int, Callable[[float], None]]]:
    """The steps at which the run is compared with others, if it is, and what compares it there."""
    rungs = context.rungs
    if rungs is None:
        return
    from nas.search.rungs import RungJudge

    judge = RungJudge(context)
    for epoch in rungs.epochs(context.experiment.supernet.epochs):
        # Where `max_time` has cut the training short, there are fewer.
        if (step := epoch * trainer.batches.per_epoch) < trainer.recipe.steps:
            yield step, partial(_compare, context, rungs, judge, epoch)


def _compare(context: Context, rungs: Rungs, judge: RungJudge, epoch: int, begun_s: float) -> None:
    """Report what the weights are worth, once, and raise StoppedEarly where others are worth more.

    The checkpoint is there: who is killed meanwhile comes to the same.
    """
    value = rungs.reported(epoch)
    if value is None:
        found = judge()
        if found is None:
            return  # which the search will say
        rungs.report(epoch, found)
        value = found.value
    how = f"{value:.1%} on validation images after {epoch} of {context.experiment.supernet.epochs} epochs"
    if rungs.stops(epoch):
        context.run.log(
            STOPPED, stage="supernet", epoch=epoch, value=value, seconds=round(time.perf_counter() - begun_s, 3)
        )
        raise StoppedEarly(
            f"stopped early: {how}, and others of its sweep had more; on its own it goes on with `nas run` and --resume"
        )
    context.voice.note(f"compared: {how}; goes on")
