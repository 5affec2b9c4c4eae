"""Choose a winner per budget by measuring candidates before any of them is trained.

The candidate with the largest expected gain is measured; the reading corrects the latency model, and the next one is
chosen with the corrected model, a bounded number of times. Appends to measurements.jsonl and writes
winners/NAME/architecture.json. A choice that is written down stands until a measurement shows that it breaks its
budget.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_models.roofline import LinearModel
from nas.devices.measurement import Measurement, time_networks
from nas.errors import InputError
from nas.process.files import atomic_write_json
from nas.run.context import Context
from nas.run.trial import Trial, load_batches
from nas.search.candidates import next_step, seconds_of
from nas.settings import Budget
from nas.stages.latency import append_measurements, load_model, read_measurements, refit
from nas.stages.search import FRONT, TRIALS, impossible, problem_of
from nas.units import format_seconds

ARCHITECTURE, UNMET = "architecture.json", "unmet.json"
SCHEMA = 1


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


def winner_folder(context: Context, budget: Budget) -> Path:
    """Where everything about a budget's winner lies."""
    return context.path("winners", budget.name)


def choose(context: Context) -> tuple[dict[str, Winner], dict[str, str]]:
    """The winner of each budget by name, and a statement for each budget that has none, both written down.

    Raises InputError where the search has not been done.
    """
    if not context.path(FRONT).exists():
        raise InputError(f"{context.run.path} has no {FRONT} yet; run the search first")
    front = json.loads(context.path(FRONT).read_text())
    logged = [trial for batch in load_batches(context.path(TRIALS)) for trial in batch]
    winners, unmet = {}, {}
    for number, budget in enumerate(context.experiment.budgets):
        candidates = [Trial.from_json(record) for record in front["budgets"][budget.name]]
        pool = _pool(candidates, logged, number)
        found: Winner | str | None = _chosen_before(context, number, budget, pool)
        if found is None and not pool:
            found = impossible(problem_of(context), number)
        if found is None:
            found = _choose(context, number, budget, pool)
        folder = winner_folder(context, budget)
        if isinstance(found, str):
            unmet[budget.name] = found
            shutil.rmtree(folder, ignore_errors=True)
            continue
        winners[budget.name] = found
        _record(context, folder, found)
    atomic_write_json(context.path("winners", UNMET), unmet)
    return winners, unmet


def standing(context: Context) -> tuple[dict[str, Winner], dict[str, str]]:
    """What `choose` wrote down last, kept or not: the winners, and statements for budgets without one.

    Raises InputError where nothing was chosen yet.
    """
    path = context.path("winners", UNMET)
    if not path.exists():
        raise InputError(f"{context.run.path} has no winners yet; run `nas train {context.run.path}`")
    unmet: dict[str, str] = json.loads(path.read_text())
    winners = {}
    for number, budget in enumerate(context.experiment.budgets):
        if budget.name not in unmet:
            chosen = winner_folder(context, budget) / ARCHITECTURE
            if not chosen.exists():
                raise InputError(f"{chosen} is not there; run `nas train {context.run.path}`")
            record = json.loads(chosen.read_text())
            trial = Trial.from_json(record["search"])
            rows = measured(context, budget)
            winners[budget.name] = Winner(budget, trial, number, rows.get(trial.key))
    return winners, unmet


def _pool(candidates: list[Trial], logged: list[Trial], number: int) -> list[Trial]:
    """Candidates that were judged on all validation images first, then every other network that may keep the budget."""
    known = {trial.key for trial in candidates}
    rest = [t for t in logged if t.status == "complete" and t.budgets[number] is not None and t.key not in known]
    return candidates + sorted(rest, key=lambda trial: -_accuracy(trial, number))


def _accuracy(trial: Trial, number: int) -> float:
    at = trial.budgets[number]
    return -1.0 if at is None else at.accuracy


def _chosen_before(context: Context, number: int, budget: Budget, pool: list[Trial]) -> Winner | None:
    """The winner that stands in architecture.json, unless it was seen to break its budget since."""
    path = winner_folder(context, budget) / ARCHITECTURE
    if not path.exists():
        return None
    key = json.loads(path.read_text())["key"]
    trial = next((trial for trial in pool if trial.key == key), None)
    rows = measured(context, budget)
    if trial is None or (key in rows and budget.name in rows[key].broken):
        return None
    return Winner(budget, trial, number, rows.get(key))


def _choose(context: Context, number: int, budget: Budget, pool: list[Trial]) -> Winner | str:
    target = context.experiment.target_of(budget)
    base = load_model(context, target)
    if not context.here(target):
        return Winner(budget, pool[0], number, None) if pool else "no network that was judged keeps this budget"
    pool = [trial for trial in pool if trial.budgets[number] is not None]
    if not pool:
        return _unmet(budget, number, pool, {})
    rates = [_rates(trial, number) for trial in pool]
    accuracy = np.array([_accuracy(trial, number) for trial in pool])
    # What could not be measured before may be now; it was nobody's fault, and no attempt.
    refused = [row for row in candidate_rows(context, budget) if row.refused]
    while True:
        rows = {key: row for key, row in measured(context, budget).items() if row not in refused}
        # A reading decides about its own network however it was taken; it says nothing of others if the machine moved.
        model = refit(context, base, [row for row in rows.values() if not (row.drifted or row.refused)])
        # Readings for other budgets are known here too, but they were not this one's attempts.
        own = {row.key for row in candidate_rows(context, budget) if row.budget == budget.name and row not in refused}
        read = [
            seconds_of(budget, rate, rows[trial.key]) <= budget.latency_s
            for trial, rate in zip(pool, rates, strict=True)
            if trial.key in own
        ]
        # The first that keeps the budget is no failed attempt; others are read because they may be better still.
        left = context.experiment.winners.attempts - len(read) + any(read)
        step = next_step(context.space, budget, rates, accuracy, pool, rows, model, left)
        if step.index is None:
            return _unmet(budget, number, pool, rows)
        if step.found is not None:
            return Winner(budget, pool[step.index], number, rows[pool[step.index].key])
        with context.console.status(f"measuring a candidate for {budget.name}"):
            _measure(context, budget, model, pool[step.index])


def measured(context: Context, budget: Budget) -> dict[str, Measurement]:
    """The last reading of each network by key, if there is one that was not refused; what is broken stays so.

    Measuring again until a reading happens to be within would make the bound worthless.
    """
    rows: dict[str, Measurement] = {}
    for row in candidate_rows(context, budget):
        if row.refused and row.key in rows and not rows[row.key].refused:
            continue
        before = rows[row.key].broken if row.key in rows else ()
        rows[row.key] = replace(row, broken=tuple(dict.fromkeys((*before, *row.broken))))
    return rows


def candidate_rows(context: Context, budget: Budget) -> Iterator[Measurement]:
    """All readings of candidates and winners on a budget's target, in the order in which they were taken."""
    target = context.experiment.target_of(budget)
    return (row for row in read_measurements(context, target) if row.purpose != "calibration")


def _measure(context: Context, budget: Budget, model: LinearModel, trial: Trial) -> None:
    target, genome = context.experiment.target_of(budget), np.array(trial.genome)
    settings = context.experiment.verify
    prediction = model.predict([context.space.decode(genome)])
    how = (settings.blocks, settings.block_time_s, context.here(target))
    (row,) = time_networks(context.space, [genome], target, "candidate", context.seed("candidate"), *how)
    row = replace(
        row,
        predicted_s=tuple(prediction.reach_s()[0].tolist()),
        predicted_std_s=tuple(prediction.reach_std_s()[0].tolist()),
        budget=budget.name,
    )
    append_measurements(context, [row])
    context.run.log("candidate", budget=budget.name, key=trial.key, seconds=float(row.reach_s[-1]))


def _unmet(budget: Budget, number: int, pool: list[Trial], rows: dict[str, Measurement]) -> str:
    lost = [rows[t.key] for t in pool if t.key in rows and rows[t.key].refused]
    tried = [(t, rows[t.key]) for t in pool if t.key in rows and not rows[t.key].refused]
    if lost:
        return (
            f"{budget.describe()}: {len(tried)} candidates were measured and none kept it, {len(lost)} were not "
            f"measurable: {lost[-1].refused}. End other programs and run it again"
        )
    if not tried:
        return f"{budget.describe()}: no network that was judged is predicted to keep this budget"
    took = [
        row.reach_s[-1] if budget.of == "worst_case" else np.dot(_rates(t, number), row.reach_s) for t, row in tried
    ]
    fastest = int(np.argmin(took))
    return (
        f"{budget.describe()}: {len(tried)} candidates were measured and none kept it; the fastest took "
        f"{format_seconds(float(took[fastest]))} (genome {list(tried[fastest][0].genome)}). Raise the budget, or allow "
        "more winners.attempts"
    )


def _rates(trial: Trial, number: int) -> tuple[float, ...]:
    at = trial.budgets[number]
    if at is None:
        raise AssertionError("only networks that may keep the budget are measured for it")
    return at.rates


def _record(context: Context, folder: Path, winner: Winner) -> None:
    """Write architecture.json; what belongs to a winner that was chosen before and now is not goes away."""
    path = folder / ARCHITECTURE
    if path.exists():
        if json.loads(path.read_text())["key"] == winner.trial.key:
            return
        shutil.rmtree(folder)
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
    atomic_write_json(path, record)


def attempts(context: Context, budget: Budget) -> list[dict[str, Any]]:
    """The networks that were measured for a budget, in order, as verify.json and the report show them."""
    return [_attempt(row, budget) for row in candidate_rows(context, budget) if row.budget == budget.name]


def _attempt(row: Measurement, budget: Budget) -> dict[str, Any]:
    """Worst cases; whether an expected budget is kept they cannot say, unless the reading was the deciding one."""
    kept = row.worst_upper_s <= budget.latency_s if budget.of == "worst_case" else None
    return {
        "key": row.key,
        "purpose": row.purpose,
        "predicted_s": None if row.predicted_s is None else row.predicted_s[-1],
        "measured_s": float(row.reach_s[-1]),
        "kept": budget.name not in row.broken if row.purpose == "winner" else kept,
    }
