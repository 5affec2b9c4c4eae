"""The shared weights of a run: how they are trained, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.process.files import understood
from nas.run.context import Context
from nas.run.optimiser import BALANCED, BEGUN_ANEW
from nas.run.training import load_checkpoint, planned_steps, training_set
from search_spaces.slots import SearchSpace

if TYPE_CHECKING:
    from nas.nn.trainer import Trainer
    from nas.supernet.sampling import Wish


def planned_supernet(context: Context, wish: Wish | None = None) -> Trainer:
    """The training of the run's shared weights, as long as was planned; for `wish` see `sampling.Sandwich`."""
    from nas.nn.loop import Recipe
    from nas.supernet.training import supernet_trainer

    settings = context.experiment.supernet
    data = training_set(context, settings.augment)

    def trainer(steps: int) -> Trainer:
        recipe = Recipe(
            steps, settings.batch_size, settings.learning_rate, weight_decay=settings.weight_decay,
            label_smoothing=settings.label_smoothing, final_rate=settings.final_rate, averaging=settings.averaging,
        )  # fmt: skip
        return supernet_trainer(context.space, data, recipe, context.seed("supernet"), settings.random_subnets, wish)

    most = settings.epochs * (len(data) // settings.batch_size)
    path, max_time_s = context.files.plans, settings.max_time_s
    return trainer(planned_steps(context, path, "supernet", most, max_time_s, lambda: trainer(most).time_steps()))


def shared_weights(context: Context) -> dict[str, NDArray[np.float32]]:
    """The trained shared weights by name; those of another run were trained on as many images as it had."""
    from nas.supernet.training import shared_weights as parameters

    path = context.files.supernet
    if context.experiment.supernet.reuse is not None:
        with understood(path, "delete it, and it is taken from the other run again"):
            return weights_in(path, context.space)
    state = load_checkpoint(path, planned_supernet(context).load)
    named: dict[str, NDArray[Any]] = dict(parameters(state))
    return named


def searches_in_turns(context: Context) -> dict[str, NDArray[np.float64]]:
    """What architecture searches in turns with the training have learned, by name; empty where there were none.

    Searches whose losses were on another scale than they would be now are none.
    """
    from nas.nn.loop import beside

    if context.experiment.supernet.reuse is not None:
        return {}
    with understood(context.files.supernet, "delete it, and the training begins anew"):
        stored = beside(context.files.supernet.read_bytes())
    balanced = any(bool(value.all()) for name, value in stored.items() if name.endswith(f"/{BALANCED}"))
    if stored and balanced != context.experiment.search.balanced:
        context.voice.note(BEGUN_ANEW)
        return {}
    return stored


def weights_in(path: Path, space: SearchSpace) -> dict[str, NDArray[np.float32]]:
    """The shared weights in a file, of whatever training; raises ValueError where they are not those of the space."""
    from nas.nn.loop import parameters
    from nas.supernet.training import SharedNetworks

    return parameters(path.read_bytes(), SharedNetworks(space).initial(0, zero_residual=False))
