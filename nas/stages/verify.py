"""Verify: time the exported winners where they will run, and say which budgets are kept.

It is repeated while a broken budget leads to another choice, and looks at no label. The seconds to every exit go to
measurements.jsonl, the verdicts to verify.json, which `test` completes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target

from ..errors import InputError
from ..exits.thresholds import Policy
from ..export import manifest
from ..measurement import HOST, ExitTime, Measurement
from ..run_folder import atomic_write_json
from ..runners import runner_for
from ..runners.cascade import Cascade
from ..runners.readings import Readings, kept
from ..runners.timing import Plan, measure, measure_stream
from .context import Context
from .export import budget_record, exit_seconds, solve_thresholds, write_manifest
from .latency import append_measurements, load_model
from .train import val_scores
from .winners import Winner, attempts, standing, winner_folder

VERIFY = "verify.json"
SCHEMA = 1
#: How often thresholds of an expected budget are tightened after a measured mean above it.
_TIGHTENINGS = 3


def measure_winners(context: Context) -> bool:
    """Time every winner; True when each keeps its budget or nothing else can be tried.

    A winner that breaks its budget is written to the measurements as having broken it, so that `choose` takes another.
    """
    winners, unmet = standing(context)
    records, settled = [], True
    for winner in winners.values():
        if not (winner_folder(context, winner.budget) / manifest.NAME).exists():
            raise InputError(f"winner {winner.budget.name} is not exported yet; run `nas export {context.run.path}`")
        if context.experiment.target_of(winner.budget).device != HOST:
            records.append(_unmeasured(context, winner))
            continue
        with context.console.status(f"measuring {winner.budget.name}"):
            record, holds = _measured(context, winner)
        settled &= holds
        records.append(record)
    statements = [
        {"budget": budget_record(budget), "statement": unmet[budget.name]}
        for budget in context.experiment.budgets
        if budget.name in unmet
    ]
    everything = {"schema": SCHEMA, "kept": False, "tested": False, "winners": records, "unmet": statements}
    atomic_write_json(context.path(VERIFY), everything)
    return settled


def load_cascade(folder: Path, target: Target, thresholds: tuple[float, ...] | None = None) -> Cascade:
    """The exported segments of a winner, ready to run on a target; `thresholds` replace those of the manifest."""
    found = manifest.load(folder)
    runner = runner_for(target)
    files = [entry.file for entry in found.exits] if target.runner == "onnxruntime" else list(libraries(found))
    return Cascade(
        [runner.load(folder / file) for file in files],
        [entry.takes for entry in found.exits],
        [entry.outputs for entry in found.exits],
        found.thresholds if thresholds is None else thresholds,
    )


def libraries(found: manifest.Manifest) -> tuple[str, ...]:
    """The compiled segments of a manifest's first TVM target, in the order of the exits."""
    return next(iter(found.libraries.values()))


def plan_of(context: Context, target: Target) -> Plan:
    """How winners are measured on a target."""
    settings = context.experiment.verify
    return Plan(blocks=settings.blocks, block_s=settings.block_time_s, threads=target.threads)


def _measured(context: Context, winner: Winner) -> tuple[dict[str, Any], bool]:
    """The record of a winner that was timed, and whether it kept its budget."""
    budget, target = winner.budget, context.experiment.target_of(winner.budget)
    folder = winner_folder(context, budget)
    images = context.data.preprocessing.apply(context.data.raw_images("test")[: context.experiment.verify.samples])
    batch = np.repeat(images[:1], target.batch, axis=0)
    cascade = load_cascade(folder, target)
    calls = {str(k): partial(cascade.run_to, batch, k) for k in range(len(cascade))}
    readings = measure(calls, plan_of(context, target))
    to_exits = [readings[str(k)] for k in range(len(cascade))]
    row = _row(context, winner, to_exits)
    worst, policy = to_exits[-1], _policy(context, winner, folder)
    if budget.of == "worst_case":
        decisive = worst
    else:
        fresh = replace(winner, measurement=row)
        policy, decisive = _stream(context, fresh, folder, list(images))
    holds = kept(decisive, budget.latency_s)
    append_measurements(context, [replace(row, broken=() if holds else (budget.name,))])
    record = {
        **_common(context, winner, policy, row.reach_s),
        "measured_s": decisive.value_s,
        "upper_95_s": decisive.upper_95_s,
        "contended": decisive.contended,
        "kept": holds,
        "reason": "" if holds else "the upper 95 % bound of the measured latency is above the budget",
        "worst_case_s": worst.median_s,
    }
    return record, holds


def _stream(
    context: Context, winner: Winner, folder: Path, images: list[NDArray[np.float32]]
) -> tuple[Policy, Readings]:
    """Mean seconds over test images (never their labels), thresholds tightened while the mean is above the budget."""
    budget, target = winner.budget, context.experiment.target_of(winner.budget)
    found = manifest.load(folder)
    allowed = budget.latency_s
    for _ in range(_TIGHTENINGS):
        policy = solve_thresholds(context, winner, allowed)
        cascade = load_cascade(folder, target, policy.thresholds)
        samples = [image[None] for image in images]
        readings = measure_stream({"": cascade}, samples, plan_of(context, target))[""]
        if kept(readings, budget.latency_s):
            break
        allowed *= min(0.98, budget.latency_s / readings.upper_95_s)
    write_manifest(context, winner, folder, found.exits, policy, dict(found.libraries))
    return policy, readings


def _row(context: Context, winner: Winner, readings: list[Readings]) -> Measurement:
    target = context.experiment.target_of(winner.budget)
    prediction = load_model(context, target).predict([context.space.decode(winner.genome)])
    return Measurement(
        "winner",
        target.key,
        winner.trial.genome,
        winner.trial.key,
        tuple(ExitTime(found.median_s, found.upper_95_s, found.contended) for found in readings),
        tuple(prediction.reach_s()[0].tolist()),
        tuple(prediction.reach_std_s()[0].tolist()),
        budget=winner.budget.name,
    )


def _policy(context: Context, winner: Winner, folder: Path) -> Policy:
    """What the manifest's thresholds give on validation images."""
    from ..exits.thresholds import evaluate

    thresholds = [np.inf if t is None else t for t in manifest.load(folder).thresholds]
    found = val_scores(context, winner)
    return evaluate(thresholds, found.confidence, found.correct, exit_seconds(context, winner))


def _unmeasured(context: Context, winner: Winner) -> dict[str, Any]:
    seconds = exit_seconds(context, winner)
    policy = _policy(context, winner, winner_folder(context, winner.budget))
    target = context.experiment.target_of(winner.budget)
    return {
        **_common(context, winner, policy, seconds),
        "measured_s": None,
        "upper_95_s": None,
        "contended": False,
        "kept": None,
        "reason": f"{target.device} is not this machine: run `run.py` of the winner's folder there",
        "worst_case_s": float(seconds[-1]),
    }


def _common(context: Context, winner: Winner, policy: Policy, reach_s: NDArray[np.float64]) -> dict[str, Any]:
    budget, target = winner.budget, context.experiment.target_of(winner.budget)
    network = context.space.decode(winner.genome)
    prediction = load_model(context, target).predict([network])
    worst = budget.of == "worst_case"
    rates = np.array([policy.rates])
    names = [network.ops[index].name for index in network.exits]
    thresholds = [*policy.thresholds, None]
    return {
        "name": budget.name,
        "budget": budget_record(budget),
        "target": target.key,
        "budget_s": budget.latency_s,
        "predicted_s": float((prediction.total_s if worst else prediction.expected_s(rates))[0]),
        "predicted_std_s": float((prediction.total_std_s if worst else prediction.expected_std_s(rates))[0]),
        "key": winner.trial.key,
        "genome": winner.trial.genome,
        "exits": [
            {"name": name, "reach_s": float(seconds), "rate": rate, "threshold": threshold}
            for name, seconds, rate, threshold in zip(names, reach_s, policy.rates, thresholds, strict=True)
        ],
        "accuracy": {"val": policy.accuracy},
        "expected_s": float(np.dot(policy.rates, reach_s)),
        "counts": {
            "params": network.params,
            "macs": network.macs,
            "weight_bytes": network.weight_bytes,
            "peak_memory_bytes": network.peak_memory,
        },
        "attempts": attempts(context, budget),
        "files": sorted(
            str(path.relative_to(context.run.path))
            for path in winner_folder(context, budget).rglob("*")
            if path.is_file()
        ),
    }
