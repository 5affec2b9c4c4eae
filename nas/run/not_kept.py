"""Networks that were trained and did not keep their budget: kept apart when another is chosen, never thrown away."""

from __future__ import annotations

import math
import shutil
from typing import Any

from nas.config.budget import Budget
from nas.process.files import atomic_write_json, read_json, understood
from nas.run.context import Context
from nas.run.measurements import measured
from nas.run.trial import Trial
from nas.run.winners import Winner, trained_key

_REMEDY = "restore it, or delete the folder, and another network is chosen"


def set_aside(context: Context, budget: Budget) -> None:
    """Move what was trained for a budget to where networks lie that are not kept, with what was measured of it.

    What was chosen and not trained goes away.
    """
    files = context.files.winner(budget.name)
    if not files.root.exists():
        return
    key = trained_key(files)
    if key is None:
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
    """The network that came nearest to a budget of those that were trained for it; None where none was.

    It is the budget's again where it had been set aside.
    """
    own = context.files.winner(budget.name)
    aside = [files for files in context.files.all_not_kept() if files.root.parent.name == budget.name]
    trained = {key: files for files in (own, *aside) if (key := trained_key(files)) and files.architecture.exists()}
    if not trained:
        return None
    rows = measured(context, budget)

    def bound_s(key: str) -> float:
        row = rows.get(key)
        if row is None or row.refused:
            return math.inf
        if row.stream is None:
            return row.worst_upper_s
        return row.stream.upper_95_s if budget.percentile is None else row.stream.percentile(budget.percentile)[1]

    # Of equals, what stands there stays.
    key = min(trained, key=lambda each: (bound_s(each), trained[each] != own))
    if trained[key] != own:
        set_aside(context, budget)
        trained[key].verdict.unlink(missing_ok=True)
        trained[key].root.rename(own.root)
    record = read_json(own.architecture, _REMEDY)
    with understood(own.architecture, _REMEDY):
        trial = Trial.from_json(record["search"])
    return Winner(budget, trial, number, rows.get(key))


def _verdict(context: Context, budget: Budget, key: str) -> dict[str, Any] | None:
    """What verify.json says of a network."""
    path = context.files.verify
    if not path.is_file():
        return None
    found = read_json(path, "delete it and give `nas verify` again").get("winners", [])
    return next((each for each in found if each.get("name") == budget.name and each.get("key") == key), None)
