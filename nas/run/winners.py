"""The winners of a run: what was chosen for each budget, its trained weights, and its scores on validation images."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from latency_models.arrays import read_arrays
from nas.config.budget import Budget
from nas.devices.measurement import Measurement
from nas.errors import InputError
from nas.exits.scores import Scores
from nas.process.files import atomic_write_bytes, atomic_write_json, read_json, understood
from nas.run.context import Context
from nas.run.layout import WinnerFiles
from nas.run.measurements import measured
from nas.run.trial import Trial
from nas.tasks.image_classification.balance import class_weights
from search_spaces.ir import Network

SCHEMA: Final = 1


@dataclass(frozen=True)
class Winner:
    """The network chosen for a budget, and the measurement that says so (None on a device that is not here)."""

    budget: Budget
    trial: Trial
    number: int
    measurement: Measurement | None

    @property
    def genome(self) -> NDArray[np.int64]:
        """The genome of the network [genes]."""
        return np.array(self.trial.genome)


def files_of(context: Context, winner: Winner) -> WinnerFiles:
    """The files of a winner."""
    return context.files.winner(winner.budget.name)


def standing(context: Context) -> tuple[dict[str, Winner], dict[str, str]]:
    """What was chosen last, kept or not: the winners by budget, and statements for budgets without one.

    Raises InputError where nothing was chosen yet.
    """
    remedy = f"run `nas train {context.run.path}`"
    path = context.files.unmet
    path = path if path.exists() else context.files.unmet_of_old
    if not path.is_file():
        raise InputError(f"{context.run.path} has no winners yet; {remedy}")
    unmet: dict[str, str] = read_json(path, remedy)
    winners = {}
    for number, budget in enumerate(context.experiment.budgets):
        if budget.name not in unmet:
            chosen = context.files.winner(budget.name).architecture
            if not chosen.exists():
                raise InputError(f"{chosen} is not there; {remedy}")
            record = read_json(chosen, remedy)
            with understood(chosen, remedy):
                trial = Trial.from_json(record["search"])
            winners[budget.name] = Winner(budget, trial, number, measured(context, budget).get(trial.key))
    return winners, unmet


def chosen_key(context: Context, budget: Budget) -> str | None:
    """The key of the network that was chosen for a budget last, None where none was."""
    path = context.files.winner(budget.name).architecture
    if not path.exists():
        return None
    key: str | None = read_json(path, "delete it, and another network is chosen").get("key")
    return key


def write_choice(context: Context, winner: Winner) -> None:
    """Write down the network that was chosen for a budget."""
    network = context.space.decode(winner.genome)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "key": winner.trial.key,
        "space": context.space.name,
        "genome": winner.trial.genome,
        "budget": asdict(winner.budget),
        "search": asdict(winner.trial),
        "network": json.loads(network.to_json()),
    }
    atomic_write_json(files_of(context, winner).architecture, record)


def write_unmet(context: Context, unmet: Mapping[str, str]) -> None:
    """Write down why budgets have no winner; this ends the choice."""
    atomic_write_json(context.files.unmet, unmet)


def is_trained(files: WinnerFiles, winner: Winner) -> bool:
    """Whether the weights in a winner's folder are those of its network."""
    return is_trained_for(files, winner.trial.key)


def is_trained_for(files: WinnerFiles, key: str) -> bool:
    """Whether a folder has the weights of the network of this key."""
    return trained_key(files) == key


def trained_key(files: WinnerFiles) -> str | None:
    """The key of the network whose weights are in a folder, None where none are."""
    if not files.weights.exists():
        return None
    key: str | None = _weights(files)[1].get("network")
    return key


def write_weights(files: WinnerFiles, winner: Winner, weights: Mapping[str, Any]) -> None:
    """Write a winner's trained weights; what was found out about former ones goes away before."""
    from nas.nn.weights import to_bytes

    for stale in (files.scores, files.thresholds):
        stale.unlink(missing_ok=True)
    atomic_write_bytes(files.weights, to_bytes(weights, {"network": winner.trial.key}))


def _weights(files: WinnerFiles) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    from nas.nn.weights import from_bytes

    with understood(files.weights, "delete it, and the network is trained again"):
        return from_bytes(files.weights.read_bytes())


def trained_weights(files: WinnerFiles) -> dict[str, NDArray[np.float32]]:
    """The weights in a winner's folder; raises InputError where they are damaged."""
    return _weights(files)[0]


def load_network(context: Context, winner: Winner) -> tuple[Network, dict[str, NDArray[np.float32]]]:
    """A trained winner and its weights; raises InputError where it is not trained yet."""
    files = files_of(context, winner)
    if not is_trained(files, winner):
        raise InputError(f"winner {winner.budget.name} is not trained yet; run `nas train {context.run.path}`")
    return context.space.decode(winner.genome), trained_weights(files)


def write_scores(files: WinnerFiles, found: Scores) -> None:
    """Write a winner's scores on validation images."""
    data = io.BytesIO()
    np.savez(data, confidence=found.confidence, correct=found.correct)
    atomic_write_bytes(files.scores, data.getvalue())


def val_scores(context: Context, winner: Winner) -> Scores:
    """Confidence and correctness of a trained winner on all validation images, and what these count."""
    path = files_of(context, winner).scores
    remedy = f"delete it and run `nas train {context.run.path}`"
    with understood(path, remedy):
        data = read_arrays(path)
        found = Scores(data["confidence"], data["correct"])
    if not context.experiment.search.balanced:
        return found
    return replace(found, weights=class_weights(context.data.labels("val")))
