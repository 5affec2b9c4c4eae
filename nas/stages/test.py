"""Test: settle what was verified, once no latency will change the choice any more.

Compares JAX, ONNX Runtime and TVM on the same images, reads the test labels, once per verification, and completes
verify.json.
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
from nas.deploy import manifest
from nas.deploy.cascade import Cascade
from nas.deploy.parity import compare_exits
from nas.devices.measurement import HOST
from nas.devices.runners import runner_for
from nas.devices.timing.measuring import measure
from nas.errors import InputError
from nas.exits.confidence import max_probability, wilson
from nas.exits.thresholds import leave_at
from nas.process.files import atomic_write_json
from nas.run.context import Context
from nas.stages.export import MODEL, why_no_tvm
from nas.stages.train import network_logits
from nas.stages.verify import VERIFY, libraries, load_cascade, plan_of
from nas.stages.winners import Winner, standing, winner_folder
from nas.units import format_seconds

_BATCH = 256


@dataclass(frozen=True)
class Verdict:
    """Whether every budget was kept by a verified network, and a line of text for each."""

    kept: bool
    lines: tuple[str, ...]


def is_settled(context: Context) -> bool:
    """Whether this run was verified and tested to the end."""
    path = context.path(VERIFY)
    return path.exists() and bool(json.loads(path.read_text())["tested"])


def test_winners(context: Context) -> Verdict:
    """Compare the runtimes, read the test labels once, and settle verify.json."""
    path = context.path(VERIFY)
    if not path.exists():
        raise InputError(f"{context.run.path} has no {VERIFY} yet; run `nas verify {context.run.path}`")
    everything = json.loads(path.read_text())
    if not everything["tested"]:
        winners, _ = standing(context)
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
    images, prepare = context.data.raw_images("test"), context.data.preprocessing.apply
    chosen = context.order("test")[: context.experiment.verify.parity_samples]
    few = prepare(images[chosen])
    here = Target(HOST, "onnxruntime", target.threads)
    program = runner_for(here).load(folder / MODEL)
    exported = np.concatenate(
        [np.stack(program(prepare(images[i : i + _BATCH])), axis=1) for i in range(0, len(images), _BATCH)]
    )
    jax_logits = network_logits(context, winner, images)
    parity = {
        "onnxruntime": _parity(jax_logits[chosen], exported[chosen]),
        **_tvm(context, winner, folder, few, jax_logits[chosen], record),
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
    record["kept"] = record["within_budget"]
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
    from nas.devices.runners.tvm_rpc import Device, RpcError, local_server

    found = manifest.load(folder)
    if not found.libraries:
        reason = why_no_tvm(context, winner.budget)
        return {"tvm": {"skipped": reason}, "tvm_rpc": {"skipped": reason}}
    target = replace(context.experiment.target_of(winner.budget), runner="tvm", runtime_version=None)
    cascade = load_cascade(folder, target)
    # The library has a fixed batch; a batch of one is what the parity of the others is compared with as well.
    answers = [np.stack(_each(cascade, image[None], target.batch), axis=1) for image in images]
    parity = {"tvm": _parity(reference, np.concatenate(answers))}
    batch = np.repeat(images[:1], target.batch, axis=0)
    plan = replace(plan_of(context, target), block_s=0.05)
    record["tvm_s"] = measure({"": partial(cascade.run_all, batch)}, plan)[""].median_s
    try:
        with local_server(target.threads) as server:
            device = Device.of(server)
            remote = Cascade(
                [partial(device.run, folder / file) for file in libraries(found)],
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
