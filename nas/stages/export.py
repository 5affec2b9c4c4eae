"""Export: turn trained winners into files that run without this package.

Writes winners/NAME/: model.onnx (all exits, any batch), exit_K.onnx (one segment per exit, the target's batch), TVM
libraries for the target where a compiler is found, the scripts that run them, and manifest.json.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TypeAlias

from hardware_profiles import Target
from nas.deploy import manifest
from nas.deploy.builders import Builder, OnnxBuilder
from nas.deploy.onnx import export_segments, to_onnx
from nas.deploy.policy import policy_record
from nas.deploy.tvm import TVM_FAILURES
from nas.errors import InputError
from nas.process.files import RunFolderError
from nas.process.machine import computing
from nas.run.artefacts import built_for, compiled_beside, require_exported, tvm_ready
from nas.run.context import Context
from nas.run.verdict import BudgetRow
from nas.run.verdict_files import budget_record
from nas.run.winners import Winner, files_of, load_network, standing
from search_spaces.ir import Network
from search_spaces.passes import Weights

Libraries: TypeAlias = dict[str, tuple[str, ...]]


def export_winners(context: Context) -> None:
    """Export every winner whose files are not there yet, or not of its present weights."""
    winners, _ = standing(context)
    for winner in winners.values():
        if _exported(context, winner):
            continue
        with context.voice.doing(f"exporting {winner.budget.name}"), computing():
            _export(context, winner)


def _exported(context: Context, winner: Winner) -> bool:
    if not files_of(context, winner).manifest.exists():
        return False
    # The same question as later stages ask: what they refuse, and say to export again, is exported again.
    try:
        require_exported(context, winner)
    except InputError as error:
        context.run.log("exported again", budget=winner.budget.name, reason=str(error))
        return False
    return True


def _export(context: Context, winner: Winner) -> None:
    network, weights = load_network(context, winner)
    target, files = context.experiment.target_of(winner.budget), files_of(context, winner)
    to_onnx(network, weights, files.model, batch=None)
    segments = export_segments(network, weights, files.root, target.batch)
    libraries = {**_built(context, winner, network, weights), **_compiled(context, winner, network, weights)}
    others = (*manifest.add_scripts(files.root, context.experiment.policy), files.weights.name)
    manifest.write(
        files.root,
        manifest.Manifest(
            architecture=winner.trial.key,
            model=files.model.name,
            exits=segments,
            preprocessing=context.data.preprocessing.to_dict(),
            policy=policy_record(context.experiment.policy, context.experiment.exit_policy.arguments),
            targets=({"key": target.key, **asdict(target)},),
            budgets=(budget_record(BudgetRow.of_budget(winner.budget, target.key)),),
            libraries=libraries,
        ),
        others,
    )


def _built(context: Context, winner: Winner, network: Network, weights: Weights) -> Libraries:
    """What the budget's own runner loads, by target, where that is not the models that are there anyway."""
    target = context.experiment.target_of(winner.budget)
    builder = context.builder(target)
    if type(builder) is OnnxBuilder:
        return {}
    return _library(context, winner, builder, target, (network, weights))


def _compiled(context: Context, winner: Winner, network: Network, weights: Weights) -> Libraries:
    """TVM libraries beside the models, by target; none where TVM or a compiler is missing or fails, which is said."""
    own = context.experiment.target_of(winner.budget)
    target = compiled_beside(own)
    if not tvm_ready(context) or not context.is_here(target) or target.runner == own.runner:
        return {}
    try:
        return _library(context, winner, context.builder(target), target, (network, weights))
    except RunFolderError:
        raise  # a full disk is no fault of TVM's, and the run can go on when there is room
    except TVM_FAILURES as error:
        context.voice.warning(f"{winner.budget.name}: no TVM library: {error}")
        context.run.log("tvm failed", budget=winner.budget.name, reason=str(error))
        return {}


def _library(
    context: Context, winner: Winner, builder: Builder, target: Target, trained: tuple[Network, Weights]
) -> Libraries:
    key, folder = built_for(target), files_of(context, winner).root
    built = builder.build(*trained, folder / key)
    if built.folder != folder / key:
        raise InputError(
            f"target.runner: the builder of {target.runner} wrote to {built.folder}, not to {folder / key}"
        )
    return {key: tuple(str(path.relative_to(folder)) for path in built.paths)}
