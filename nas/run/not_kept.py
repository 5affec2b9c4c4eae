"""Networks that were trained and did not keep their budget: kept apart when another is chosen, never thrown away."""

from __future__ import annotations

import shutil
from typing import Any

from nas.config.budget import Budget
from nas.process.files import atomic_write_json, read_json
from nas.run.context import Context
from nas.run.measurements import measured
from nas.run.trial import Trial
from nas.run.winners import Winner, chosen_key, is_trained_for


def set_aside(context: Context, budget: Budget) -> None:
    """Move what was trained for a budget to where networks lie that are not kept, with what was measured of it.

    What was chosen and not trained goes away.
    """
    files, key = context.files.winner(budget.name), chosen_key(context, budget)
    if not files.root.exists():
        return
    if key is None or not is_trained_for(files, key):
        shutil.rmtree(files.root)
        return
    verdict = _verdict(context, budget, key)
    if verdict is not None:
        atomic_write_json(files.verdict, verdict)
    place = context.files.not_kept(budget.name, key).root
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    files.root.rename(place)
    where = place.relative_to(context.run.path)
    context.run.log("not kept", budget=budget.name, key=key, folder=str(where))
    context.voice.note(f"{budget.name}: the network that was trained and did not keep it is in {where}")


def trained_before(context: Context, number: int, budget: Budget) -> Winner | None:
    """The network that was trained for a budget last, though it did not keep it; None where none was."""
    files, key = context.files.winner(budget.name), chosen_key(context, budget)
    if key is None or not is_trained_for(files, key):
        return None
    record = read_json(files.architecture, "delete the folder, and another network is chosen")
    return Winner(budget, Trial.from_json(record["search"]), number, measured(context, budget).get(key))


def _verdict(context: Context, budget: Budget, key: str) -> dict[str, Any] | None:
    """What verify.json says of a network."""
    path = context.files.verify
    if not path.is_file():
        return None
    found = read_json(path, "delete it and give `nas verify` again").get("winners", [])
    return next((each for each in found if each.get("name") == budget.name and each.get("key") == key), None)
