"""The exported winners of a run: whether their files are what was exported, and making them ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from nas.config.budget import Budget
from nas.deploy import manifest
from nas.deploy.artefact import Artefact
from nas.deploy.policy import policy_record
from nas.deploy.thresholds import read as read_thresholds
from nas.deploy.tvm import available, compiler
from nas.devices.timing.plan import Plan
from nas.errors import InputError
from nas.process.files import plain, sha256_file
from nas.run.context import Context
from nas.run.layout import WinnerFiles
from nas.run.verdict import BudgetRow, Verdict
from nas.run.verdict_files import budget_record
from nas.run.winners import Winner, files_of

#: Keys that came later, and what they were before.
_LATER: Final[Mapping[str, Mapping[str, Any]]] = {"targets": {"provider": "cpu"}}


def require_exported(context: Context, winner: Winner) -> manifest.Manifest:
    """The manifest of a winner, every file of which is what was exported; raises InputError naming those that are not.

    Nothing else certifies a file: its hash was taken when it was made, and is never taken again.
    """
    files, again = files_of(context, winner), f"nas export {context.run.path}"
    if not files.manifest.exists():
        raise InputError(f"winner {winner.budget.name} is not exported yet; run `{again}`")
    found = manifest.require_as_exported(files.root, again)
    target = context.experiment.target_of(winner.budget)
    wanted = {
        "architecture": winner.trial.key,
        "preprocessing": context.data.preprocessing.to_dict(),
        "policy": policy_record(context.experiment.policy, context.experiment.exit_policy.arguments),
        "targets": [{"key": target.key, **asdict(target)}],
        "budgets": [budget_record(BudgetRow.of_budget(winner.budget, target.key))],
    }
    # As JSON has them, so that tuples and lists are the same.
    for name, value in wanted.items():
        if _complete(name, plain(getattr(found, name))) != plain(value):
            raise InputError(f"{files.manifest}: its {name} is not that of this run; export it again with `{again}`")
    if missing := [name for name in (*found.scripts, files.weights.name) if name not in found.artefacts]:
        raise InputError(f"{files.manifest} has no hash of {missing[0]}; export it again with `{again}`")
    return found


def _complete(name: str, written: Any) -> Any:
    """What stands in a manifest, with what older releases did not write."""
    return [{**_LATER[name], **row} for row in written] if name in _LATER else written


def measured_files(files: WinnerFiles) -> dict[str, str]:
    """Hashes of what a verdict hangs on: the manifest, which has those of all artefacts, thresholds, choice, scores."""
    hanging = (files.manifest, files.thresholds, files.architecture, files.scores)
    return {path.name: sha256_file(path) for path in hanging if path.is_file()}


def is_as_measured(files: WinnerFiles, verdict: Verdict) -> bool:
    """Whether a winner's files are those that its verdict is about, as far as its release noted which they were."""
    return not changes_since(files, verdict)


def changes_since(files: WinnerFiles, verdict: Verdict) -> tuple[str, ...]:
    """What of a winner's files is not what its verdict is about, one sentence per file; see `is_as_measured`."""
    if not verdict.sha256:
        return ()
    found = measured_files(files)
    changed = [
        f"{name} is missing" if name not in found else f"{name} has another SHA-256"
        for name, known in verdict.sha256.items()
        if found.get(name) != known
    ]
    return tuple(changed) or manifest.differences(files.root, manifest.load(files.root))


def shipped(context: Context, winner: Winner, target: Target, thresholds: tuple[float, ...] | None = None) -> Artefact:
    """What was exported of a winner for a target; `thresholds` replace those that were settled."""
    folder = files_of(context, winner).root
    found = manifest.load(folder)
    if thresholds is None:
        thresholds = read_thresholds(folder, found.architecture, len(found.exits))
    policy, arguments = context.experiment.policy, context.experiment.exit_policy.arguments
    return Artefact(folder, found.segments(built_for(target)), thresholds, policy, arguments)


def built_for(target: Target) -> str:
    """The key under which what was built for a target lies: the version of its runtime does not matter."""
    return replace(target, runtime_version=None).key


def compiled_beside(target: Target) -> Target:
    """The target that TVM libraries are made for beside the ONNX models of another."""
    return replace(target, runner="tvm", runtime_version=None, provider="cpu")


def plan_of(context: Context, target: Target) -> Plan:
    """How winners are measured on a target."""
    settings = context.experiment.verify
    warm_up_s = min(Plan.warm_up_s, settings.block_time_s)
    return Plan(blocks=settings.blocks, block_s=settings.block_time_s, warm_up_s=warm_up_s, threads=target.threads)


def prepared_samples(context: Context, part: Literal["val", "test"]) -> list[NDArray[np.float32]]:
    """A fair sample of a part's images, prepared, each as a batch of one; no labels."""
    chosen = context.order(part)[: context.experiment.verify.samples]
    return [image[None] for image in context.data.preprocessing.apply(context.data.raw_images(part)[chosen])]


def tvm_ready(context: Context) -> bool:
    """Whether this run makes TVM libraries: wanted, and possible here."""
    return context.experiment.verify.tvm and available()[0] and compiler().command is not None


def why_no_tvm(context: Context, budget: Budget | None = None) -> str:
    """The reason for the absence of TVM libraries, of a budget's winner or at all, for people."""
    if budget is not None and not context.is_here(context.experiment.target_of(budget)):
        return f"{context.experiment.target_of(budget).device} is not this machine"
    if not context.experiment.verify.tvm:
        return "turned off by verify.tvm"
    importable, reason = available()
    if not importable or compiler().command is None:
        return reason if not importable else compiler().reason
    return "none was made when the network was exported; the log of the run says why"
