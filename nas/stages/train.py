"""Train the winners: each network that keeps its budget when measured, from the shared weights or from scratch.

Writes architecture.json, weights.safetensors and scores.npz of each winner (how sure and how right each exit is on
validation images, which is what thresholds are solved on), and unmet.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.config.plugins import Plugins
from nas.errors import InputError
from nas.exits.scores import scores
from nas.process.events import Event, Voice
from nas.process.files import atomic_write_bytes
from nas.process.interrupt import stop_if_asked
from nas.process.machine import computing
from nas.run.context import Context
from nas.run.supernet import shared_weights
from nas.run.training import load_checkpoint, planned_steps, require_same_kernels, steps_progress, training_set
from nas.run.winners import (
    Winner,
    files_of,
    is_trained,
    load_network,
    trained_key,
    trained_weights,
    write_scores,
    write_weights,
)
from nas.search.asking import Asking
from nas.search.executors.base import Failure
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
    untrained: list[Winner] = []
    for winner in winners.values():
        if is_trained(files_of(context, winner), winner):
            # Of a run that was killed when the weights were written.
            files_of(context, winner).checkpoint.unlink(missing_ok=True)
        else:
            untrained.append(winner)
    if not untrained and all(files_of(context, winner).scores.exists() for winner in winners.values()):
        return
    # One network may win several budgets, or have been set aside; trained again it would become the same. Its weights
    # are read before others take their place.
    places = (*(files_of(context, winner) for winner in winners.values()), *context.files.all_not_kept())
    lying = {trained_key(place): place for place in places}
    known = {w.trial.key: trained_weights(lying[w.trial.key]) for w in untrained if w.trial.key in lying}
    first: dict[str, Winner] = {}
    for winner in untrained:
        if winner.trial.key not in known:
            first.setdefault(winner.trial.key, winner)
    with closing(Asking(context)) as asking:
        _done(context, asking, "winners trained", _train_and_score, tuple(first.values()))
        known |= {key: trained_weights(files_of(context, winner)) for key, winner in first.items()}
        for winner in untrained:
            if not is_trained(files := files_of(context, winner), winner):
                write_weights(files, winner, known[winner.trial.key])
                files.checkpoint.unlink(missing_ok=True)
        unscored = [winner for winner in winners.values() if not files_of(context, winner).scores.exists()]
        _done(context, asking, "winners scored", _score, unscored)


@dataclass(frozen=True)
class _Answer:
    """What was done for the winner of a budget, and what was said meanwhile, where nobody hears it."""

    budget: str
    said: tuple[Event, ...] = ()


class _OnWinner:
    """What an executor is given: work on a winner, with the run of this process or with one opened there."""

    def __init__(self, context: Context, work: Callable[[Context, Winner], None]) -> None:
        self._context: Context | None = context
        self._run, self._plugins, self._work = context.run.path.resolve(), context.experiment.plugins, work

    def __call__(self, winner: Winner) -> _Answer:
        """Do the work, and tell what was said."""
        said: list[Event] = []
        context = self._context or replace(_opened(self._run, self._plugins), voice=Voice(said.append))
        with computing():
            self._work(context, winner)
        return _Answer(winner.budget.name, tuple(event for event in said if event.kind in ("note", "warning")))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_context": None}


@lru_cache(maxsize=1)
def _opened(run: Path, plugins: Plugins) -> Context:
    from nas.run.opening import reopen

    return reopen(run, plugins)


def _done(
    context: Context, asking: Asking, what: str, work: Callable[[Context, Winner], None], winners: Sequence[Winner]
) -> None:
    """Have something done for winners; raises InputError for the first that it could not be done for, at the end."""
    voice = context.voice if asking.elsewhere and winners else Voice()
    failed = ""
    with voice.steps(what, len(winners)) as tell:
        answers = asking(_OnWinner(context, work), winners, lambda answer, winner: answer.budget == winner.budget.name)
        for number, (winner, answer) in enumerate(zip(winners, answers, strict=True), start=1):
            if isinstance(answer, Failure):
                failed = failed or f"winner {winner.budget.name} could not be trained: {answer.cause}"
            else:
                for event in answer.said:
                    (context.voice.warning if event.kind == "warning" else context.voice.note)(event.text)
            tell(number, None)
            stop_if_asked()
    if failed:
        raise InputError(f"{failed}; what the others have come to is kept, and the same command goes on from there")


def _train_and_score(context: Context, winner: Winner) -> None:
    _train(context, winner)
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
    path.unlink(missing_ok=True)


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
