"""Export: turn trained winners into files that run without this package, with thresholds solved for their budgets.

Writes winners/NAME/: model.onnx (all exits, any batch), exit_K.onnx (one segment per exit, the target's batch), TVM
libraries for the target where a compiler is found, the scripts that run them, and manifest.json.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from nas.deploy import manifest
from nas.deploy.onnx import SegmentFile, export_segments, to_onnx
from nas.deploy.tvm import available, compiler, segments_to_tvm
from nas.errors import InputError
from nas.exits.thresholds import Policies, Policy, expected_upper_s
from nas.process.files import RunFolderError
from nas.run.context import Context
from nas.settings import Budget
from nas.stages.train import WEIGHTS, load_network, val_scores
from nas.stages.winners import Winner, standing, winner_folder

MODEL = "model.onnx"
#: What TVM, its linker and its libraries raise; the ONNX artefacts do not depend on them.
TVM_FAILURES = (InputError, RuntimeError, OSError)
#: Of an expected budget, what thresholds may use up: the rest is for exit rates that differ on other images.
_SHARE = 0.97


def export_winners(context: Context) -> None:
    """Export every winner whose files are not there yet, or not of its present weights."""
    winners, _ = standing(context)
    for winner in winners.values():
        folder = winner_folder(context, winner.budget)
        if _exported(folder, winner):
            continue
        with context.console.status(f"exporting {winner.budget.name}"):
            _export(context, winner, folder)


def _exported(folder: Path, winner: Winner) -> bool:
    if not (folder / manifest.NAME).exists():
        return False
    found = manifest.load(folder)
    return found.architecture == winner.trial.key and not manifest.differences(folder, found)


def _export(context: Context, winner: Winner, folder: Path) -> None:
    network, weights = load_network(context, winner)
    target = context.experiment.target_of(winner.budget)
    to_onnx(network, weights, folder / MODEL, batch=None)
    files = export_segments(network, weights, folder, target.batch)
    libraries = _libraries(context, winner, files, folder)
    policy = solve_thresholds(context, winner, winner.budget.latency_s)
    write_manifest(context, winner, folder, files, policy, libraries)


def write_manifest(
    context: Context,
    winner: Winner,
    folder: Path,
    files: tuple[SegmentFile, ...],
    policy: Policy,
    libraries: dict[str, tuple[str, ...]],
) -> None:
    """Write manifest.json with the thresholds of `policy`, and copy the scripts that run the files."""
    target = context.experiment.target_of(winner.budget)
    others = (*manifest.add_scripts(folder), WEIGHTS)
    manifest.write(
        folder,
        manifest.Manifest(
            architecture=winner.trial.key,
            model=MODEL,
            exits=files,
            thresholds=tuple(t if np.isfinite(t) else None for t in policy.thresholds),
            preprocessing=context.data.preprocessing.to_dict(),
            targets=({"key": target.key, **asdict(target)},),
            budgets=(budget_record(winner.budget),),
            libraries=libraries,
        ),
        others,
    )


def budget_record(budget: Budget) -> dict[str, Any]:
    """A budget as it stands in files."""
    return {"name": budget.name, "of": budget.of, "latency_s": budget.latency_s}


def _libraries(
    context: Context, winner: Winner, files: tuple[SegmentFile, ...], folder: Path
) -> dict[str, tuple[str, ...]]:
    """TVM libraries of the segments, by target; none where TVM or a compiler is missing or fails, which is said."""
    target = context.experiment.target_of(winner.budget)
    if not tvm_ready(context) or not context.here(target):
        return {}
    profile = context.profiles[target.device]
    key = replace(target, runner="tvm", runtime_version=None).key
    description = {**(profile.tvm_target or {}), "num-cores": target.threads}
    try:
        compiled = segments_to_tvm(files, folder, description, folder / key)
    except RunFolderError:
        raise  # a full disk is no fault of TVM's, and the run can go on when there is room
    except TVM_FAILURES as error:
        context.console.print(f"[yellow]{winner.budget.name}: no TVM library: {escape(str(error))}[/]")
        context.run.log("tvm failed", budget=winner.budget.name, reason=str(error))
        return {}
    return {key: tuple(f"{key}/{file.file}" for file in compiled)}


def tvm_ready(context: Context) -> bool:
    """Whether this run makes TVM libraries: wanted, and possible here."""
    return context.experiment.verify.tvm and available()[0] and compiler().command is not None


def why_no_tvm(context: Context, budget: Budget | None = None) -> str:
    """The reason for the absence of TVM libraries, of a budget's winner or at all, for people."""
    if budget is not None and not context.here(context.experiment.target_of(budget)):
        return f"{context.experiment.target_of(budget).device} is not this machine"
    if not context.experiment.verify.tvm:
        return "turned off by verify.tvm"
    importable, reason = available()
    return reason if not importable else compiler().reason


def exit_seconds(context: Context, winner: Winner) -> NDArray[np.float64]:
    """Seconds to each exit of a winner [exits]: measured, or predicted for a device that is not here."""
    if winner.measurement is not None:
        return np.maximum.accumulate(winner.measurement.reach_s)
    from nas.stages.latency import load_model

    model = load_model(context, context.experiment.target_of(winner.budget))
    return np.asarray(model.predict([context.space.decode(winner.genome)]).reach_s()[0])


def solve_thresholds(context: Context, winner: Winner, allowed_s: float) -> Policy:
    """The most accurate thresholds on validation data whose expected seconds stay within `allowed_s`.

    For an expected budget the upper bound over other images of the same kind has to stay within it too; where even the
    first exit alone does not, leaving there always is what is nearest. A worst-case budget leaves thresholds free.
    """
    found, seconds = val_scores(context, winner), exit_seconds(context, winner)
    policies = Policies.of(found.confidence, found.correct, seconds)
    if winner.budget.of == "worst_case":
        free = policies.best(np.inf)
        if free is None:
            raise AssertionError("every network keeps an infinite budget")
        return free
    limit = _SHARE * allowed_s
    for cost in policies.expected_s[::-1]:
        policy = policies.best(float(cost))
        if policy is not None and expected_upper_s(found.confidence, policy.thresholds, seconds) <= limit:
            return policy
    first = policies.best(float(policies.expected_s[0]))
    if first is None:
        raise AssertionError("the cheapest policy costs what it costs")
    return first
