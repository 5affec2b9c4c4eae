"""Choose a winner per budget by measuring candidates before any of them is trained.

The candidate with the largest expected gain is measured; the reading corrects the latency model, and the next one is
chosen with the corrected model, a bounded number of times. A choice that is written down stands until a measurement
shows that it breaks its budget.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from latency_models.base import LatencyModel
from nas.config.budget import Budget
from nas.config.units import format_seconds
from nas.devices.base import Device
from nas.devices.measurement import Measurement
from nas.devices.networks import time_networks
from nas.devices.timing.readings import remedy
from nas.errors import InputError
from nas.process.files import read_json, understood
from nas.run.context import Context
from nas.run.latency import load_model, refit
from nas.run.measurements import append_measurements, candidate_rows, measured
from nas.run.not_kept import set_aside, trained_before
from nas.run.tails import tail_of
from nas.run.trial import Trial, load_batches
from nas.run.winners import Winner, chosen_key, write_choice, write_unmet
from nas.search.candidates import Candidates, next_step, seconds_of
from nas.search.feasibility import impossible
from nas.search.problem import problem_of
from nas.search.shrinkage import estimates, ranked


def choose(context: Context) -> tuple[dict[str, Winner], dict[str, str]]:
    """The winner of each budget by name, and a statement for each budget that has none, both written down.

    Raises InputError where the search has not been done.
    """
    path = context.files.front
    if not path.exists():
        raise InputError(f"{context.run.path} has no {path.name} yet; run the search first")
    remedy = "delete it, and the search ends again with what it has judged"
    candidates_of = read_json(path, remedy).get("budgets")
    if not isinstance(candidates_of, dict) or any(b.name not in candidates_of for b in context.experiment.budgets):
        raise InputError(f"{path} does not name the candidates of every budget; {remedy}")
    logged = [trial for batch in load_batches(context.files.trials) for trial in batch]
    winners, unmet = {}, {}
    for number, budget in enumerate(context.experiment.budgets):
        with understood(path, remedy):
            candidates = [Trial.from_json(record) for record in candidates_of[budget.name]]
        pool = _pool(context, candidates, logged, number)
        found: Winner | str | None = _chosen_before(context, number, budget, pool)
        if found is None and not pool:
            found = impossible(problem_of(context), number)
        if found is None:
            found = _choose(context, number, budget, pool)
        if isinstance(found, str) and (trained := trained_before(context, number, budget)):
            # What was trained and is not kept is shown, and may be measured again; it is better than nothing.
            context.voice.warning(found)
            found = trained
        if isinstance(found, str):
            unmet[budget.name] = found
            set_aside(context, budget)
            continue
        winners[budget.name] = found
        _record(context, found)
    write_unmet(context, unmet)
    return winners, unmet


def _pool(context: Context, candidates: list[Trial], logged: list[Trial], number: int) -> list[Trial]:
    """Candidates that were judged on all validation images first, then every other network that may keep the budget."""
    known = {trial.key for trial in candidates}
    rest = [t for t in logged if t.status == "complete" and t.budgets[number] is not None and t.key not in known]
    return candidates + ranked(context.space, rest, candidates, number, context.experiment.search.features)


def _chosen_before(context: Context, number: int, budget: Budget, pool: list[Trial]) -> Winner | None:
    """The winner that stands in architecture.json, unless it was seen to break its budget since."""
    key = chosen_key(context, budget)
    if key is None:
        return None
    trial = next((trial for trial in pool if trial.key == key), None)
    rows = measured(context, budget)
    if trial is None or (key in rows and budget.name in rows[key].broken):
        return None
    return Winner(budget, trial, number, rows.get(key))


def _choose(context: Context, number: int, budget: Budget, pool: list[Trial]) -> Winner | str:
    target = context.experiment.target_of(budget)
    base = load_model(context, target)
    device = context.device(target)
    if device is None:
        return Winner(budget, pool[0], number, None) if pool else "no network that was judged keeps this budget"
    pool = [trial for trial in pool if trial.budgets[number] is not None]
    if not pool:
        return _unmet(context, budget, number, pool, {})
    rates = [_rates(trial, number) for trial in pool]
    accuracies = estimates(context.space, pool, (), number, context.experiment.search.features)
    tail = tail_of(context, budget, "bound")
    # What could not be measured before may be now; it was nobody's fault, and no attempt.
    refused = [row for row in candidate_rows(context, budget) if row.refused]
    while True:
        rows = {key: row for key, row in measured(context, budget).items() if row not in refused}
        # A reading decides about its own network however it was taken; it says nothing of others if the machine moved.
        model = refit(context, base, [row for row in rows.values() if row.steady])
        # Readings for other budgets are known here too, but they were not this one's attempts.
        own = {row.key for row in candidate_rows(context, budget) if row.budget == budget.name and row not in refused}
        read = [
            seconds_of(budget, rate, rows[trial.key], tail) <= budget.latency_s
            for trial, rate in zip(pool, rates, strict=True)
            if trial.key in own
        ]
        # The first that keeps the budget is no failed attempt; others are read because they may be better still.
        left = context.experiment.winners.attempts - len(read) + any(read)
        step = next_step(context.space, budget, Candidates(pool, rates, accuracies, tail), rows, model, left)
        if step.index is None:
            return _unmet(context, budget, number, pool, rows)
        if step.found is not None:
            return Winner(budget, pool[step.index], number, rows[pool[step.index].key])
        with context.voice.doing(f"measuring a candidate for {budget.name}"):
            _measure(context, device, budget, model, pool[step.index])


def _measure(context: Context, device: Device, budget: Budget, model: LatencyModel, trial: Trial) -> None:
    genome, settings = np.array(trial.genome), context.experiment.verify
    prediction = model.predict([context.space.decode(genome)])
    untrained = context.untrained(device.target, "candidate")
    (row,) = time_networks(device, untrained, [genome], "candidate", settings.blocks, settings.block_time_s)
    row = replace(
        row,
        predicted_s=tuple(prediction.cumulative_s()[0].tolist()),
        predicted_std_s=tuple(prediction.cumulative_std_s()[0].tolist()),
        budget=budget.name,
    )
    append_measurements(context, [row])
    context.run.log("candidate", budget=budget.name, key=trial.key, seconds=float(row.cumulative_s[-1]))


def _unmet(context: Context, budget: Budget, number: int, pool: list[Trial], rows: dict[str, Measurement]) -> str:
    lost = [rows[t.key] for t in pool if t.key in rows and rows[t.key].refused]
    tried = [(t, rows[t.key]) for t in pool if t.key in rows and not rows[t.key].refused]
    if lost:
        return (
            f"{budget.describe()}: {len(tried)} candidates were measured and none kept it, {len(lost)} were not "
            f"measurable: {lost[-1].refused}. {remedy(lost[-1].refused).capitalize()} and run it again"
        )
    if not tried:
        return f"{budget.describe()}: no network that was judged is predicted to keep this budget"
    tail = tail_of(context, budget, "bound")
    took = [budget.seconds(row.cumulative_s, _rates(t, number), tail) for t, row in tried]
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


def _record(context: Context, winner: Winner) -> None:
    """Write the choice; what belongs to a winner that was chosen before and now is not is set aside."""
    if chosen_key(context, winner.budget) == winner.trial.key:
        return
    set_aside(context, winner.budget)
    write_choice(context, winner)
