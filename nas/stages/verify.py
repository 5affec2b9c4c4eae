"""Verify: settle the thresholds of the exported winners, time them where they will run, and say what is kept.

It is repeated while a broken budget leads to another choice, and looks at no label. The seconds to every exit go to
measurements.jsonl, thresholds to thresholds.json of each winner, the findings to verify.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.energy import call_energy_j, peak_memory_bytes
from nas.config.budget import Budget
from nas.deploy import thresholds
from nas.devices.measurement import LEVELS, ExitTime, Measurement
from nas.devices.timing.readings import remedy
from nas.exits.scores import Scores
from nas.exits.thresholds import Policy, evaluate
from nas.run.artefacts import measured_files, require_exported
from nas.run.context import Context
from nas.run.latency import load_model
from nas.run.measurements import candidate_rows, measured, readings_needed
from nas.run.tails import tail_of
from nas.run.verdict import Attempt, BudgetRow, ExitRow, Verdict, Verdicts
from nas.run.verdict_files import load_verdicts, write_measured
from nas.run.verifying import Read, forget_read, note_read, read_before
from nas.run.winners import Winner, files_of, standing, val_scores
from nas.search.settling import exit_seconds, leaves, settle_thresholds, val_accuracy_of
from nas.search.winner_readings import Taken, as_decided, decided, deciding, taken_where_they_run


def measure_winners(context: Context) -> bool:
    """Time every winner; True when all of them keep their budgets.

    All are measured together, in interleaved blocks. A winner that breaks its budget is written to the measurements as
    having broken it, so that the next choice is another one. What a run that was killed had measured is judged first.
    """
    if (settled := judge_what_was_read(context)) is not None:
        return settled
    winners, _ = standing(context)
    for winner in winners.values():
        require_exported(context, winner)
    allowed_s = {}
    for name, winner in winners.items():
        with context.voice.doing(f"thresholds of {name}"):
            allowed_s[name] = settle_thresholds(context, winner)
    with context.voice.doing("measuring the winners"):
        taken = taken_where_they_run(context, list(winners.values()))
    read = {name: _read(context, winner, taken.get(name), allowed_s[name]) for name, winner in winners.items()}
    note_read(context, read)
    return _judge(context, read)


def judge_what_was_read(context: Context) -> bool | None:
    """Judge the winners by readings that a run which was killed had taken; None where there are none of those now."""
    read = read_before(context)
    return None if read is None else _judge(context, read)


def _judge(context: Context, read: Mapping[str, Read]) -> bool:
    winners, unmet = standing(context)
    before = load_verdicts(context.files)
    found = [_judged(context, winner, read[name]) for name, winner in winners.items()]
    statements = [
        (BudgetRow.of_budget(budget, context.experiment.target_of(budget).key), unmet[budget.name])
        for budget in context.experiment.budgets
        if budget.name in unmet
    ]
    tried = before.tried + 1 if before.found and not before.tested else 1
    write_measured(context.files, Verdicts(tuple(found), tuple(statements), before.looks + 1, tried=tried))
    forget_read(context)
    return all(verdict.within_budget is not False for verdict in found)


def measure_again(context: Context) -> bool:
    """Time every winner, as often as those need it that were above their budgets before; True when all keep them."""
    winners, _ = standing(context)
    most = max((readings_needed(context, each.budget, each.trial.key) for each in winners.values()), default=1)
    settled = measure_winners(context)
    for left in range(most - 1, 0, -1):
        needed = [readings_needed(context, each.budget, each.trial.key) for each in winners.values()]
        # Above a budget once more it needs more than there were to be, and another day.
        if settled or max(needed) > left:
            break
        settled = measure_winners(context)
    return settled


def _read(context: Context, winner: Winner, taken: Taken | None, allowed_s: float) -> Read:
    """What was read of a winner; readings that were refused break no budget and keep none."""
    if taken is None:
        return Read(allowed_s)
    budget = winner.budget
    _, upper_s, refused = deciding(budget, taken)
    broken = () if upper_s <= budget.latency_s or refused else (budget.name,)
    row = replace(_row(context, winner, taken), broken=broken)
    return Read(allowed_s, row, taken.rates, taken.times.single_s, taken.images)


def _judged(context: Context, winner: Winner, read: Read) -> Verdict:
    """What was found of a winner."""
    row, times, allowed_s = read.row, read.times, read.allowed_s
    if row is None or times is None or read.rates is None:
        target, seconds = context.experiment.target_of(winner.budget), exit_seconds(context, winner)
        return replace(
            _described(context, winner, seconds, allowed_s),
            reason=_why_not_measured(context, target),
        )
    budget = winner.budget
    measured_s, upper_s, refused = decided(budget, times, read.rates, read.images)
    within = upper_s <= budget.latency_s
    before = budget.name in measured(context, budget)[winner.trial.key].broken
    decisive: ExitTime = times.to_exits[-1] if times.stream is None else times.stream
    if refused and not before:
        return replace(
            _described(context, winner, exit_seconds(context, winner), allowed_s),
            contended=decisive.contended,
            disturbed=decisive.disturbed,
            reason=f"not measurable: {refused}; {remedy(refused)} and run `nas verify {context.run.path}`",
        )
    reason = "" if within else "the upper 95 % bound of the measured latency is above the budget"
    if before and (within or refused):
        reason = "it broke its budget in an earlier measurement of this run"
    return replace(
        _described(context, winner, row.cumulative_s, allowed_s),
        measured_s=measured_s,
        upper_95_s=upper_s,
        contended=decisive.contended,
        disturbed=decisive.disturbed,
        within_budget=within and not before,
        reason=reason,
        worst_case_s=times.to_exits[-1].median_s,
        p95_s=_known(decisive.p95_s),
        p99_s=_known(decisive.p99_s),
        single_calls=decisive.calls or None,
        every_s=decisive.every_s,
        single_refused=decisive.single_refused,
        over_images=times.stream is not None,
        distribution=tuple(zip(LEVELS, times.single_s, strict=False)),
    )


def _why_not_measured(context: Context, target: Target) -> str:
    if (lost := context.why_lost(target)) is not None:
        return f"{target.device} {lost}; go on with --resume when it answers again"
    return f"{target.device} is not this machine: run `run.py` of the winner's folder there"


def _known(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds


def _row(context: Context, winner: Winner, taken: Taken) -> Measurement:
    target = context.experiment.target_of(winner.budget)
    prediction = load_model(context, target).predict([context.space.decode(winner.genome)])
    return Measurement(
        purpose="winner",
        target=target.key,
        genome=winner.trial.genome,
        key=winner.trial.key,
        exits=as_decided(winner.budget, taken.times),
        predicted_s=tuple(prediction.cumulative_s()[0].tolist()),
        predicted_std_s=tuple(prediction.cumulative_std_s()[0].tolist()),
        budget=winner.budget.name,
        stream=taken.times.stream,
        rates=None if taken.times.stream is None else tuple(taken.rates.tolist()),
        conditions=taken.conditions,
    )


def _described(context: Context, winner: Winner, cumulative_s: NDArray[np.float64], allowed_s: float) -> Verdict:
    """A winner as far as nothing was measured: predictions, and what its thresholds give on validation images."""
    budget, target, files = winner.budget, context.experiment.target_of(winner.budget), files_of(context, winner)
    network = context.space.decode(winner.genome)
    scores = val_scores(context, winner)
    settled = thresholds.read(files.root, winner.trial.key, len(network.exits))
    policy = evaluate(settled, scores.confidence, scores.correct, exit_seconds(context, winner))
    tail = tail_of(context, budget, "percentile")
    believed = budget.believed(load_model(context, target).predict([network]), [policy.rates], tail)
    energy_j, no_energy = _energy(context, winner, cumulative_s, policy.rates if leaves(context, winner) else None)
    return Verdict(
        budget=BudgetRow.of_budget(budget, target.key),
        target=target.key,
        budget_s=budget.latency_s,
        predicted_s=float(believed.mean_s[0]),
        predicted_std_s=float(believed.std_s[0]),
        predicted_90_s=(float(believed.quantile_s(0.05)[0]), float(believed.quantile_s(0.95)[0])),
        probability_within=float(believed.probability_within(budget.latency_s)[0]),
        measured_s=None,
        upper_95_s=None,
        contended=False,
        disturbed=None,
        within_budget=None,
        reason="",
        worst_case_s=float(cumulative_s[-1]),
        expected_s=float(np.dot(policy.rates, cumulative_s)),
        key=winner.trial.key,
        genome=winner.trial.genome,
        exits=tuple(
            ExitRow(network.ops[index].name, float(seconds), rate, threshold)
            for index, seconds, rate, threshold in zip(
                network.exits, cumulative_s, policy.rates, [*policy.thresholds, None], strict=True
            )
        ),
        val_accuracy=_val_accuracy(context, winner, scores, policy, allowed_s),
        counts=_counts(network.params, network.macs, network.weight_bytes, network.peak_memory),
        energy_j=energy_j,
        no_energy=no_energy,
        memory_bytes=peak_memory_bytes(network, target),
        attempts=tuple(_attempt(row, budget) for row in candidate_rows(context, budget) if row.budget == budget.name),
        files=tuple(
            sorted(str(path.relative_to(context.run.path)) for path in files.root.rglob("*") if path.is_file())
        ),
        sha256=measured_files(files),
    )


def _val_accuracy(context: Context, winner: Winner, scores: Scores, policy: Policy, allowed_s: float) -> float:
    """Where no answer was looked at, that of the thresholds themselves."""
    if winner.budget.percentile is not None:
        return policy.accuracy
    return val_accuracy_of(winner, scores, exit_seconds(context, winner), allowed_s)


def _counts(params: int, macs: int, weight_bytes: int, peak_memory: int) -> Mapping[str, float]:
    return {"params": params, "macs": macs, "weight_bytes": weight_bytes, "peak_memory_bytes": peak_memory}


def _attempt(row: Measurement, budget: Budget) -> Attempt:
    """Worst cases; whether another budget is kept they cannot say, unless the reading was the deciding one."""
    worst = not budget.needs_thresholds and budget.percentile is None
    kept = row.worst_upper_s <= budget.latency_s if worst else None
    if row.purpose == "winner":
        kept = budget.name not in row.broken
    return Attempt(
        key=row.key,
        purpose=row.purpose,
        predicted_s=None if row.predicted_s is None else row.predicted_s[-1],
        measured_s=float(row.cumulative_s[-1]),
        kept=None if row.refused else kept,
    )


def _energy(
    context: Context, winner: Winner, cumulative_s: NDArray[np.float64], rates: Sequence[float] | None
) -> tuple[float | None, str]:
    """Estimated joules of a call that takes these seconds, None and why where the profile does not allow one."""
    target = context.experiment.target_of(winner.budget)
    network = context.space.decode(winner.genome)
    try:
        return call_energy_j(context.profiles[target.device], target, network, cumulative_s, rates), ""
    except ValueError as error:  # an estimate beside the verdict never stops it
        return None, str(error)
