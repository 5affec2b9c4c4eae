"""Train the winners: each network that keeps its budget when measured, from the shared weights or from scratch.

Writes winners/NAME/weights.safetensors, and scores.npz: how sure and how right each exit is on validation images,
which is what thresholds are solved on.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import InputError
from nas.process.files import atomic_write_bytes
from nas.run.context import Context
from nas.search import scoring as judge
from nas.seeds import derive_seed
from nas.stages.supernet import load_supernet, planned_steps, steps_progress, training_set
from nas.stages.winners import Winner, choose, winner_folder
from search_spaces.ir import Network

WEIGHTS, CHECKPOINT, SCORES = "weights.safetensors", "training.safetensors", "scores.npz"
_CHECKPOINTS = 10
_BATCH = 256


def train_winners(context: Context) -> None:
    """Choose and train a winner for every budget; what is trained already is left alone."""
    winners, unmet = choose(context)
    for statement in unmet.values():
        context.console.print(f"[yellow]{statement}[/]")
    for winner in winners.values():
        folder = winner_folder(context, winner.budget)
        if not _trained(folder, winner):
            # One network may win several budgets; trained again it would become the same.
            twins = (winner_folder(context, other.budget) for other in winners.values())
            trained = next((twin for twin in twins if _trained(twin, winner)), None)
            if trained is None:
                _train(context, winner, folder)
            else:
                atomic_write_bytes(folder / WEIGHTS, (trained / WEIGHTS).read_bytes())
        if not (folder / SCORES).exists():
            _score(context, winner, folder)


def _trained(folder: Path, winner: Winner) -> bool:
    from nas.nn.weights import from_bytes

    path = folder / WEIGHTS
    return path.exists() and from_bytes(path.read_bytes())[1].get("network") == winner.trial.key


def _train(context: Context, winner: Winner, folder: Path) -> None:
    from nas.nn.loop import Recipe
    from nas.nn.static import NetworkTrainer
    from nas.nn.weights import extract, to_bytes

    settings, shared = context.experiment.winners, context.experiment.supernet
    data = training_set(context, shared.augment)
    network = context.space.decode(winner.genome)
    seed = derive_seed(context.seed("winner"), winner.trial.key)

    def trainer(steps: int) -> NetworkTrainer:
        recipe = Recipe(
            steps,
            settings.batch_size,
            settings.learning_rate,
            weight_decay=settings.weight_decay,
            label_smoothing=shared.label_smoothing,
        )
        return NetworkTrainer(network, data, recipe, seed)

    most = settings.epochs * (len(data) // settings.batch_size)
    name = f"winner-{winner.trial.key[:16]}"
    steps = planned_steps(context, name, most, settings.max_time_s, lambda: trainer(most).time_steps())
    chosen = trainer(steps)
    path = folder / CHECKPOINT
    if path.exists():
        state = chosen.load(path.read_bytes())
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
    (folder / SCORES).unlink(missing_ok=True)
    atomic_write_bytes(folder / WEIGHTS, to_bytes(chosen.finish(state), {"network": winner.trial.key}))
    path.unlink(missing_ok=True)


def _with_statistics(network: Network, context: Context) -> dict[str, NDArray[np.float32]]:
    """The shared weights, and neutral running statistics, which a network of its own measures anew."""
    neutral = {
        name: np.full(weight.shape, float(weight.role == "variance"), np.float32)
        for name, weight in network.weight_shapes.items()
        if not weight.trainable
    }
    return {**load_supernet(context), **neutral}


def load_network(context: Context, winner: Winner) -> tuple[Network, dict[str, NDArray[np.float32]]]:
    """A trained winner and its weights; raises InputError where it is not trained yet."""
    from nas.nn.weights import from_bytes

    folder = winner_folder(context, winner.budget)
    if not _trained(folder, winner):
        raise InputError(f"winner {winner.budget.name} is not trained yet; run `nas train {context.run.path}`")
    return context.space.decode(winner.genome), from_bytes((folder / WEIGHTS).read_bytes())[0]


def network_logits(context: Context, winner: Winner, images: NDArray[Any]) -> NDArray[np.float32]:
    """Logits [images, exits, classes] of a trained winner in JAX, for images [images, ...] as the data has them."""
    import jax
    import jax.numpy as jnp

    from nas.nn import interpreter

    network, weights = load_network(context, winner)
    params, stats = interpreter.split(network, weights)
    name = network.inputs[0].name

    @jax.jit
    def answer(batch: jax.Array) -> jax.Array:
        return jnp.stack(interpreter.apply(network, params, stats, {name: batch}, "eval").outputs, axis=1)

    parts = []
    for begin in range(0, len(images), _BATCH):
        batch = context.data.preprocessing.apply(images[begin : begin + _BATCH])
        count = len(batch)
        # Filled up, so that all have one shape and one program.
        batch = np.concatenate([batch, np.zeros((_BATCH - count, *batch.shape[1:]), np.float32)])
        parts.append(np.asarray(answer(batch))[:count])
    return np.concatenate(parts)


def _score(context: Context, winner: Winner, folder: Path) -> None:
    logits = network_logits(context, winner, context.data.raw_images("val"))
    found = judge.scores(logits, context.data.labels("val"))
    data = io.BytesIO()
    np.savez(data, confidence=found.confidence, correct=found.correct)
    atomic_write_bytes(folder / SCORES, data.getvalue())


def val_scores(context: Context, winner: Winner) -> judge.Scores:
    """Confidence and correctness of a trained winner on all validation images."""
    path = winner_folder(context, winner.budget) / SCORES
    try:
        with np.load(path, allow_pickle=False) as data:
            return judge.Scores(data["confidence"], data["correct"])
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read ({error}); run `nas train {context.run.path}`") from error
