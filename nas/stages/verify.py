"""Verify: time the exported winners where they will run, and say which budgets are kept.

It is repeated while a broken budget leads to another choice, and looks at no label. The seconds to every exit go to
measurements.jsonl, the verdicts to verify.json, which `test` completes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from latency_models.energy import call_energy_j, peak_memory_bytes
from nas.deploy import manifest
from nas.deploy.cascade import Cascade
from nas.devices.conditions import Conditions
from nas.devices.measurement import ExitTime, Measurement
from nas.devices.runners import runner_for
from nas.devices.timing.measuring import Plan, measure_stream, measure_together
from nas.devices.timing.readings import Readings, kept
from nas.errors import InputError
from nas.exits.thresholds import Policy
from nas.process.files import atomic_write_json
from nas.run.context import Context
from nas.stages.export import budget_record, exit_seconds, solve_thresholds, write_manifest
from nas.stages.latency import append_measurements, load_model
from nas.stages.train import val_scores
from nas.stages.winners import Winner, attempts, measured, standing, winner_folder

VERIFY = "verify.json"
SCHEMA = 1
#: How often thresholds of an expected budget are tightened after a measured mean above it.
_TIGHTENINGS = 3
#: Rest between rounds of blocks, so that they see the machine at different times.
_GAP_S = 1.5


def measure_winners(context: Context) -> bool:
    """Time every winner; True when all of them keep their budgets.

    All are measured together, in interleaved blocks. A winner that breaks its budget is written to the measurements as
    having broken it, so that `choose` takes another.
    """
    winners, unmet = standing(context)
    for winner in winners.values():
        folder = winner_folder(context, winner.budget)
        if not (folder / manifest.NAME).exists():
            raise InputError(f"winner {winner.budget.name} is not exported yet; run `nas export {context.run.path}`")
    here = [winner for winner in winners.values() if context.here(context.experiment.target_of(winner.budget))]
    for winner in here:
        if winner.budget.of == "expected":
            with context.console.status(f"thresholds of {winner.budget.name}"):
                _tighten(context, winner)
    with context.console.status("measuring the winners"):
        found = {target: _timed(context, here, target) for target in context.experiment.targets}
    records, settled = [], True
    for winner in winners.values():
        if winner not in here:
            records.append(_unmeasured(context, winner))
            continue
        record, holds = _judged(context, winner, found[context.experiment.target_of(winner.budget)])
        records.append(record)
        settled &= holds
    statements = [
        {"budget": budget_record(budget), "statement": unmet[budget.name]}
        for budget in context.experiment.budgets
        if budget.name in unmet
    ]
    path = context.path(VERIFY)
    looks = json.loads(path.read_text())["looks"] + 1 if path.exists() else 1
    everything = {"schema": SCHEMA, "kept": False, "tested": False, "looks": looks}
    atomic_write_json(path, {**everything, "winners": records, "unmet": statements})
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


def _images(context: Context, part: Literal["val", "test"]) -> list[NDArray[np.float32]]:
    """A fair sample of a part's images, prepared, each as a batch of one; no labels."""
    chosen = context.order(part)[: context.experiment.verify.samples]
    return [image[None] for image in context.data.preprocessing.apply(context.data.raw_images(part)[chosen])]


def _tighten(context: Context, winner: Winner) -> None:
    """Lower the thresholds of an expected budget while the mean over validation images is above it."""
    budget, target = winner.budget, context.experiment.target_of(winner.budget)
    folder = winner_folder(context, budget)
    samples = _images(context, "val")
    allowed = budget.latency_s
    for _ in range(_TIGHTENINGS):
        policy = solve_thresholds(context, winner, allowed)
        cascade = load_cascade(folder, target, policy.thresholds)
        readings = measure_stream({"": cascade}, samples, plan_of(context, target))[""]
        if readings.refused or kept(readings, budget.latency_s):
            break
        allowed *= min(0.98, budget.latency_s / readings.upper_95_s)
    found = manifest.load(folder)
    write_manifest(context, winner, folder, found.exits, policy, dict(found.libraries))


@dataclass(frozen=True)
class _Times:
    """A winner's readings: to each exit, and over test images with its thresholds, of which `rates` leave at each."""

    to_exits: tuple[Readings, ...]
    stream: Readings | None
    rates: NDArray[np.float64]


def _timed(context: Context, winners: list[Winner], target: Target) -> dict[str, _Times]:
    """The readings of all winners on one target, taken together, by budget name."""
    mine = [winner for winner in winners if context.experiment.target_of(winner.budget) == target]
    if not mine:
        return {}
    samples = _images(context, "test")
    batch = np.repeat(samples[0], target.batch, axis=0)
    cascades = {w.budget.name: load_cascade(winner_folder(context, w.budget), target) for w in mine}
    calls = {
        f"{name}/{k}": partial(cascade.run_to, batch, k)
        for name, cascade in cascades.items()
        for k in range(len(cascade))
    }
    streams = {w.budget.name: cascades[w.budget.name] for w in mine if w.budget.of == "expected"}
    readings = measure_together(calls, streams, samples, replace(plan_of(context, target), gap_s=_GAP_S))
    found = {}
    for name, cascade in cascades.items():
        leaving = [cascade(sample)[1] for sample in samples] if name in streams else [len(cascade) - 1]
        rates = np.bincount(leaving, minlength=len(cascade)) / len(leaving)
        to_exits = tuple(readings[f"{name}/{k}"] for k in range(len(cascade)))
        found[name] = _Times(to_exits, readings.get(name), rates)
    return found


def _judged(context: Context, winner: Winner, found: Mapping[str, _Times]) -> tuple[dict[str, Any], bool]:
    """The record of a winner that was timed, and whether it kept its budget.

    An expected latency has two estimates, the mean over images and the exits' times weighed by their rates; the larger
    bound counts, because where they differ the machine was not the same all the while. Readings that were refused
    break no budget and keep none.
    """
    budget, times = winner.budget, found[winner.budget.name]
    decisive = times.to_exits[-1] if times.stream is None else times.stream
    upper_s, refused = decisive.upper_95_s, decisive.refused
    if times.stream is not None:
        left = [(rate, readings) for rate, readings in zip(times.rates, times.to_exits, strict=True) if rate > 0]
        upper_s = max(upper_s, sum(float(rate) * readings.upper_95_s for rate, readings in left))
        refused = refused or next((readings.refused for _, readings in left if readings.refused), "")
    within = upper_s <= budget.latency_s
    row = _row(context, winner, times)
    append_measurements(context, [replace(row, broken=() if within or refused else (budget.name,))])
    before = budget.name in measured(context, budget)[winner.trial.key].broken
    if refused and not before:
        reason = f"not measurable: {refused}; end other programs and run `nas verify {context.run.path}`"
        watched = {"contended": decisive.contended, "disturbed": decisive.disturbed}
        return {**_unmeasured(context, winner), **watched, "reason": reason}, True
    reason = "" if within else "the upper 95 % bound of the measured latency is above the budget"
    if before and (within or refused):
        reason = "it broke its budget in an earlier measurement of this run"
    record = {
        **_common(context, winner, _policy(context, winner, winner_folder(context, budget)), row.reach_s),
        "measured_s": decisive.value_s,
        "upper_95_s": upper_s,
        "contended": decisive.contended,
        "disturbed": decisive.disturbed,
        "within_budget": within and not before,
        "kept": None,
        "reason": reason,
        "worst_case_s": times.to_exits[-1].median_s,
    }
    return record, within and not before


def _row(context: Context, winner: Winner, times: _Times) -> Measurement:
    target = context.experiment.target_of(winner.budget)
    prediction = load_model(context, target).predict([context.space.decode(winner.genome)])
    return Measurement(
        "winner",
        target.key,
        winner.trial.genome,
        winner.trial.key,
        tuple(ExitTime.of(readings) for readings in times.to_exits),
        tuple(prediction.reach_s()[0].tolist()),
        tuple(prediction.reach_std_s()[0].tolist()),
        budget=winner.budget.name,
        stream=None if times.stream is None else ExitTime.of(times.stream),
        conditions=Conditions.now(runner_for(target).version, target.threads),
    )


def _policy(context: Context, winner: Winner, folder: Path) -> Policy:
    """What the manifest's thresholds give on validation images."""
    from nas.exits.thresholds import evaluate

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
        "disturbed": None,
        "within_budget": None,
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
    energy_j, no_energy = _energy(context, winner, reach_s, None if worst else policy.rates)
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
        "energy_estimate_j": energy_j,
        "energy_estimate_reason": no_energy,
        "peak_memory_estimate_bytes": peak_memory_bytes(network, target),
        "attempts": attempts(context, budget),
        "files": sorted(
            str(path.relative_to(context.run.path))
            for path in winner_folder(context, budget).rglob("*")
            if path.is_file()
        ),
    }


def _energy(
    context: Context, winner: Winner, reach_s: NDArray[np.float64], rates: Sequence[float] | None
) -> tuple[float | None, str]:
    """Estimated joules of a call that takes these seconds, None and why where the profile does not allow one."""
    target = context.experiment.target_of(winner.budget)
    network = context.space.decode(winner.genome)
    try:
        return call_energy_j(context.profiles[target.device], target, network, reach_s, rates), ""
    except ValueError as error:  # an estimate beside the verdict never stops it
        return None, str(error)
