"""The order of the stages, and what a run's exit code is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from nas.errors import NothingFits
from nas.run.context import Context

if TYPE_CHECKING:
    from nas.stages.test import Verdict

OK, NOT_KEPT = 0, 3


def search(context: Context) -> int:
    """Calibrate, train the supernet, optimise, search; returns the exit code.

    Raises NothingFits before anything is trained where no network can keep any budget.
    """
    from nas.stages import latency, optimise, supernet
    from nas.stages import search as searching

    with context.timed("calibrate"):
        latency.calibrate(context)
    searching.require_feasible(context)
    if not context.path(searching.FRONT).exists():
        with context.timed("supernet"):
            supernet.train_supernet(context)
        if context.experiment.search.optimiser is not None:
            with context.timed("optimise"):
                optimise.optimise(context, searching.problem_of(context))
        with context.timed("search"):
            searching.search(context)
    problem = searching.problem_of(context)
    able = [searching.impossible(problem, number) is None for number in range(len(context.experiment.budgets))]
    return OK if all(able) else NOT_KEPT


def run(context: Context) -> int:
    """Every stage; a winner that fails its verification is replaced, as often as `winners.attempts` allows."""
    from nas.stages import export, test, train, verify

    if context.experiment.verify.tvm and not export.tvm_ready(context):
        context.console.print(
            f"[yellow]No TVM libraries: {escape(export.why_no_tvm(context))}. The run goes on with ONNX.[/]"
        )
    try:
        search(context)
    except NothingFits as error:
        context.run.log("nothing fits", statement=error.statement)
        with context.timed("report"):
            _report(context)
        raise
    for _ in range(0 if test.is_settled(context) else context.experiment.winners.attempts):
        with context.timed("train"):
            train.train_winners(context)
        with context.timed("export"):
            export.export_winners(context)
        with context.timed("verify"):
            settled = verify.measure_winners(context)
        if settled:
            break
    with context.timed("test"):
        verdict = test.test_winners(context)
    with context.timed("report"):
        page = _report(context)
    _summary(context, verdict, page)
    return OK if verdict.kept else NOT_KEPT


def one_stage(name: str, context: Context) -> int:
    """`nas train|export|verify|report`: one stage of a run that has come far enough for it."""
    from nas.stages import export, test, train, verify

    with context.timed(name):
        if name == "train":
            train.train_winners(context)
        elif name == "export":
            export.export_winners(context)
        elif name == "verify":
            verify.measure_winners(context)
            verdict = test.test_winners(context)
            _summary(context, verdict, None)
            return OK if verdict.kept else NOT_KEPT
        else:
            context.console.print(f"report: {_report(context)}", markup=False)
    return OK


def _report(context: Context) -> Path:
    from nas.report import write_report

    return write_report(context.run.path, context.space)


def _summary(context: Context, verdict: Verdict, page: Path | None) -> None:
    for line in verdict.lines:
        context.console.print(line)
    if page is not None:
        context.console.print(f"report: {page}", markup=False)
