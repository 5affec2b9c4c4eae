"""Export: turn trained winners into files that run without this package.

Writes winners/NAME/: model.onnx (all exits, any batch), exit_K.onnx (one segment per exit, the target's batch), TVM
libraries for the target where a compiler is found, the scripts that run them, and manifest.json.
"""

from __future__ import annotations

from dataclasses import asdict, replace

from rich.text import Text

from nas.deploy import manifest
from nas.deploy.onnx import SegmentFile, export_segments, to_onnx
from nas.deploy.tvm import TVM_FAILURES, segments_to_tvm
from nas.errors import InputError
from nas.process.files import RunFolderError
from nas.run.artefacts import tvm_ready
from nas.run.context import Context
from nas.run.verdict import BudgetRow
from nas.run.verdict_files import budget_record
from nas.run.winners import Winner, files_of, load_network, standing


def export_winners(context: Context) -> None:
    """Export every winner whose files are not there yet, or not of its present weights."""
    winners, _ = standing(context)
    for winner in winners.values():
        if _exported(context, winner):
            continue
        with context.console.status(Text(f"exporting {winner.budget.name}")):
            _export(context, winner)


def _exported(context: Context, winner: Winner) -> bool:
    files = files_of(context, winner)
    if not files.manifest.exists():
        return False
    try:
        found = manifest.load(files.root)
    except InputError as error:
        context.run.log("exported again", budget=winner.budget.name, reason=str(error))
        return False
    as_exported = found.schema == manifest.SCHEMA and not manifest.differences(files.root, found)
    return found.architecture == winner.trial.key and as_exported


def _export(context: Context, winner: Winner) -> None:
    network, weights = load_network(context, winner)
    target, files = context.experiment.target_of(winner.budget), files_of(context, winner)
    to_onnx(network, weights, files.model, batch=None)
    segments = export_segments(network, weights, files.root, target.batch)
    libraries = _libraries(context, winner, segments)
    others = (*manifest.add_scripts(files.root), files.weights.name)
    manifest.write(
        files.root,
        manifest.Manifest(
            architecture=winner.trial.key,
            model=files.model.name,
            exits=segments,
            preprocessing=context.data.preprocessing.to_dict(),
            targets=({"key": target.key, **asdict(target)},),
            budgets=(budget_record(BudgetRow.of_budget(winner.budget, target.key)),),
            libraries=libraries,
        ),
        others,
    )


def _libraries(context: Context, winner: Winner, segments: tuple[SegmentFile, ...]) -> dict[str, tuple[str, ...]]:
    """TVM libraries of the segments, by target; none where TVM or a compiler is missing or fails, which is said."""
    target, folder = context.experiment.target_of(winner.budget), files_of(context, winner).root
    if not tvm_ready(context) or context.device(target) is None:
        return {}
    profile = context.profiles[target.device]
    key = replace(target, runner="tvm", runtime_version=None).key
    description = {**(profile.tvm_target or {}), "num-cores": target.threads}
    try:
        compiled = segments_to_tvm(segments, folder, description, folder / key)
    except RunFolderError:
        raise  # a full disk is no fault of TVM's, and the run can go on when there is room
    except TVM_FAILURES as error:
        context.console.print(Text(f"{winner.budget.name}: no TVM library: {error}", "yellow"))
        context.run.log("tvm failed", budget=winner.budget.name, reason=str(error))
        return {}
    return {key: tuple(f"{key}/{file.file}" for file in compiled)}
