"""Verify: run the exported winners where they will run, for the promised time and the same numbers.

`measure_winners` times them and is repeated while a broken budget leads to another choice; it looks at no label.
`test_winners` follows once, when all is settled: parity of the runtimes, and the only reading of the test labels.
Both write verify.json; measurements.jsonl gets every reading.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target

from ..errors import InputError
from ..exits.confidence import max_probability, wilson
from ..exits.thresholds import Policy, leave_at
from ..export import manifest
from ..measurement import HOST, ExitTime, Measurement
from ..run_folder import atomic_write_json
from ..runners import runner_for
from ..runners.cascade import Cascade
from ..runners.parity import compare_exits
from ..runners.readings import Readings, kept
from ..runners.timing import Plan, measure, measure_stream
from ..units import format_seconds
from .context import Context
from .export import MODEL, budget_record, exit_seconds, solve_thresholds, why_no_tvm, write_manifest
from .latency import append_measurements, load_model
from .train import network_logits, val_scores
from .winners import Winner, attempt, candidate_rows, choose, winner_folder

VERIFY = "verify.json"
SCHEMA = 1
#: How often thresholds of an expected budget are tightened after a measured mean above it.
_TIGHTENINGS = 3
_BATCH = 256


@dataclass(frozen=True)
class Verdict:
    """Whether every budget was kept by a verified network, and a line of text for each."""

    kept: bool
    lines: tuple[str, ...]


def measure_winners(context: Context) -> bool:
    """Time every winner; True when each keeps its budget or nothing else can be tried.

    A winner that breaks its budget is written to the measurements as having broken it, so that `choose` takes another.
    """
    winners, unmet = choose(context)
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
    files = [entry.file for entry in found.exits] if target.runner == "onnxruntime" else list(_libraries(found))
    return Cascade(
        [runner.load(folder / file) for file in files],
        [entry.takes for entry in found.exits],
        [entry.outputs for entry in found.exits],
        found.thresholds if thresholds is None else thresholds,
    )


def _libraries(found: manifest.Manifest) -> tuple[str, ...]:
    return next(iter(found.libraries.values()))


def _plan(context: Context, target: Target) -> Plan:
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
    readings = measure(calls, _plan(context, target))
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
        readings = measure_stream({"": cascade}, samples, _plan(context, target))[""]
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
        "attempts": [attempt(row, budget) for row in candidate_rows(context, budget)],
        "files": sorted(
            str(path.relative_to(context.run.path))
            for path in winner_folder(context, budget).rglob("*")
            if path.is_file()
        ),
    }


def test_winners(context: Context) -> Verdict:
    """Compare the runtimes, read the test labels once, and settle verify.json."""
    path = context.path(VERIFY)
    if not path.exists():
        raise InputError(f"{context.run.path} has no {VERIFY} yet; run `nas verify {context.run.path}`")
    everything = json.loads(path.read_text())
    if not everything["tested"]:
        winners, _ = choose(context)
        for record in everything["winners"]:
            _test(context, winners[record["name"]], record)
        everything["kept"] = not everything["unmet"] and all(record["kept"] is True for record in everything["winners"])
        everything["tested"] = True
        atomic_write_json(path, everything)
    lines = [_line(record) for record in everything["winners"]]
    lines += [f"[red]{record['budget']['name']}[/]: not kept; {record['statement']}" for record in everything["unmet"]]
    return Verdict(everything["kept"], tuple(lines))


def _line(record: dict[str, Any]) -> str:
    word = {True: "[green]kept[/]", False: "[red]not kept[/]", None: "[yellow]not measured[/]"}[record["kept"]]
    seconds = "" if record["measured_s"] is None else f", measured {format_seconds(record['measured_s'])}"
    bound = "" if record["upper_95_s"] is None else f" (95 %: below {format_seconds(record['upper_95_s'])})"
    return (
        f"[bold]{record['name']}[/]: {word}, budget {format_seconds(record['budget_s'])}{seconds}{bound}, "
        f"test accuracy {record['accuracy']['test_exported']:.2%}"
        + (f"; {record['reason']}" if record["reason"] else "")
    )


def _test(context: Context, winner: Winner, record: dict[str, Any]) -> None:
    """Add parity and test accuracy to a winner's record; a network whose artefact answers differently is no winner."""
    folder = winner_folder(context, winner.budget)
    target = context.experiment.target_of(winner.budget)
    images = context.data.preprocessing.apply(context.data.raw_images("test"))
    few = images[: context.experiment.verify.parity_samples]
    here = Target(HOST, "onnxruntime", target.threads)
    program = runner_for(here).load(folder / MODEL)
    exported = np.concatenate(
        [np.stack(program(images[i : i + _BATCH]), axis=1) for i in range(0, len(images), _BATCH)]
    )
    jax_logits = network_logits(context, winner, images)
    parity = {
        "onnxruntime": _parity(jax_logits[: len(few)], exported[: len(few)]),
        **_tvm(context, winner, folder, few, jax_logits[: len(few)], record),
    }
    record["parity"] = parity
    thresholds = [np.inf if t is None else t for t in manifest.load(folder).thresholds]
    labels = context.data.test_labels()
    right, leaving = _answers(exported, thresholds, labels)
    before, _ = _answers(jax_logits, thresholds, labels)
    record["accuracy"] |= {
        "test_before_export": float(before.mean()),
        "test_exported": float(right.mean()),
        "interval": wilson(int(right.sum()), len(right)),
        "images": len(right),
    }
    for position, exit_ in enumerate(record["exits"]):
        hits = exported[:, position].argmax(-1) == labels
        exit_["accuracy"] = float(hits.mean())
        exit_["interval"] = wilson(int(hits.sum()), len(hits))
        exit_["test_rate"] = float((leaving == position).mean())
    if wrong := [name for name, found in parity.items() if found.get("ok") is False]:
        record["kept"] = False
        record["reason"] = f"{wrong[0]} answers differently from JAX: see parity"


def _answers(
    logits: NDArray[np.float32], thresholds: list[float], labels: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each image is answered rightly under the thresholds, and at which exit."""
    leaving = leave_at(thresholds, max_probability(logits))
    return logits[np.arange(len(logits)), leaving].argmax(-1) == labels, leaving


def _parity(reference: NDArray[np.float32], other: NDArray[np.float32]) -> dict[str, Any]:
    """The worst of all exits, as verify.json has it."""
    exits = range(reference.shape[1])
    compared = compare_exits({"a": [reference[:, k] for k in exits], "b": [other[:, k] for k in exits]})["b"]
    worst = max(compared, key=lambda found: found.relative)
    return {
        "max_difference": worst.relative,
        "disagreement": max(found.changed for found in compared) / worst.samples,
        "samples": worst.samples,
        "ok": all(found.same for found in compared),
    }


def _tvm(
    context: Context,
    winner: Winner,
    folder: Path,
    images: NDArray[np.float32],
    reference: NDArray[np.float32],
    record: dict[str, Any],
) -> dict[str, Any]:
    """Parity of the TVM libraries, in this process and through an RPC server on loopback, and what they take."""
    from ..runners.tvm_rpc import Device, RpcError, local_server

    found = manifest.load(folder)
    if not found.libraries:
        return {"tvm": {"skipped": why_no_tvm(context)}, "tvm_rpc": {"skipped": why_no_tvm(context)}}
    target = replace(context.experiment.target_of(winner.budget), runner="tvm")
    cascade = load_cascade(folder, target)
    # The library has a fixed batch; a batch of one is what the parity of the others is compared with as well.
    answers = [np.stack(_each(cascade, image[None], target.batch), axis=1) for image in images]
    parity = {"tvm": _parity(reference, np.concatenate(answers))}
    batch = np.repeat(images[:1], target.batch, axis=0)
    plan = replace(_plan(context, target), block_s=0.05)
    record["tvm_s"] = measure({"": partial(cascade.run_all, batch)}, plan)[""].median_s
    try:
        with local_server(target.threads) as server:
            device = Device.of(server)
            remote = Cascade(
                [partial(device.run, folder / file) for file in _libraries(found)],
                [entry.takes for entry in found.exits],
                [entry.outputs for entry in found.exits],
                found.thresholds,
            )
            outputs = np.stack(_each(remote, images[:1], target.batch), axis=1)
        parity["tvm_rpc"] = _parity(reference[:1], outputs)
    except RpcError as error:
        parity["tvm_rpc"] = {"skipped": str(error)}
    return parity


def _each(cascade: Cascade, image: NDArray[np.float32], batch: int) -> list[NDArray[np.float32]]:
    """All exits' logits of one image [1, classes], through programs of a fixed batch."""
    return [logits[:1] for logits in cascade.run_all(np.repeat(image, batch, axis=0))]
