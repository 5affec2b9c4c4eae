"""Train the winners: each network that keeps its budget when measured, from the shared weights or from scratch.

Writes architecture.json, weights.safetensors and scores.npz of each winner (how sure and how right each exit is on
validation images, which is what thresholds are solved on), and unmet.json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.exits.scores import scores
from nas.process.files import atomic_write_bytes
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.supernet import shared_weights
from nas.run.training import load_checkpoint, planned_steps, require_same_kernels, steps_progress, training_set
from nas.run.winners import (
    Winner,
    files_of,
    is_trained,
    is_trained_for,
    load_network,
    trained_weights,
    write_scores,
    write_weights,
)
from nas.search.selection import choose
from nas.seeds import derive_seed
from search_spaces.ir import Network

if TYPE_CHECKING:
    from nas.nn.trainer import Trainer

_CHECKPOINTS = 10


def train_winners(context: Context) -> None:
    """Choose and train a winner for every budget; what is trained already is left alone."""
    winners, unmet = choose(context)
    for statement in unmet.values():
        context.voice.warning(statement)
    for winner in winners.values():
        files = files_of(context, winner)
        if not is_trained(files, winner):
            # One network may win several budgets, or have been set aside; trained again it would become the same.
            places = (*(files_of(context, other) for other in winners.values()), *context.files.all_not_kept())
            trained = next((place for place in places if is_trained_for(place, winner.trial.key)), None)
            if trained is None:
                with computing():
                    _train(context, winner)
            else:
                write_weights(files, winner, trained_weights(trained))
        # Of a run that was killed when the weights were written.
        files.checkpoint.unlink(missing_ok=True)
        if not files.scores.exists():
            with computing():
                _score(context, winner)


def _train(context: Context, winner: Winner) -> None:
    require_same_kernels(context)
    from nas.nn.loop import Recipe
    from nas.nn.static import finish, network_trainer
    from nas.nn.weights import extract

    settings, shared = context.experiment.winners, context.experiment.supernet
    data = training_set(context, shared.augment)
    network = context.space.decode(winner.genome)
    seed = derive_seed(context.seed("winner"), winner.trial.key)

    def trainer(steps: int) -> Trainer:
        recipe = Recipe(
            steps,
            settings.batch_size,
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            label_smoothing=shared.label_smoothing,
        )
        return network_trainer(network, data, recipe, seed)

    most = settings.epochs * (len(data) // settings.batch_size)
    name = f"winner-{winner.trial.key[:16]}"
    files, max_time_s = files_of(context, winner), settings.max_time_s
    steps = planned_steps(context, files.plan, name, most, max_time_s, lambda: trainer(most).time_steps())
    chosen = trainer(steps)
    path = files.checkpoint
    if path.exists():
        state = load_checkpoint(path, chosen.load)
    else:
        start = extract(network, _with_statistics(network, context)) if settings.training == "finetune" else None
        state = chosen.start(start)
    with steps_progress(context, f"winner {winner.budget.name}", steps, state.step) as report:
        state = chosen.run(
            state,
            every=max(1, steps // _CHECKPOINTS),
            checkpoint=lambda reached: atomic_write_bytes(path, chosen.save(reached)),
            progress=report,
        )
    write_weights(files, winner, finish(network, state, data, seed))


def _with_statistics(network: Network, context: Context) -> dict[str, NDArray[np.float32]]:
    """The shared weights, and neutral running statistics, which a network of its own measures anew."""
    neutral = {
        name: np.full(weight.shape, float(weight.role == "variance"), np.float32)
        for name, weight in network.weight_shapes.items()
        if not weight.trainable
    }
    return {**shared_weights(context), **neutral}


def _score(context: Context, winner: Winner) -> None:
    from nas.nn.static import network_logits

    network, weights = load_network(context, winner)
    logits = network_logits(network, weights, context.data.raw_images("val"), context.data.preprocessing.apply)
    write_scores(files_of(context, winner), scores(context.experiment.policy, logits, context.data.labels("val")))
