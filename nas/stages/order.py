"""The order of the stages, and whether a run ended with every budget kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rich.text import Text

from nas.config.units import format_seconds
from nas.errors import NothingFits
from nas.run.artefacts import tvm_ready, why_no_tvm
from nas.run.context import Context
from nas.run.verdict import Verdict, Verdicts
from nas.search.feasibility import impossible
from nas.search.problem import problem_of


def search(context: Context) -> bool:
    """Calibrate, train the supernet, optimise, search; returns whether some network may keep each budget.

    Raises NothingFits before anything is trained where no network can keep any budget.
    """
    from nas.stages import calibrate, optimise, supernet
    from nas.stages import search as searching

    with context.timed("calibrate"):
        calibrate.calibrate(context)
    searching.require_feasible(context)
    if not context.files.front.exists():
        if context.experiment.search.needs_weights:
            with context.timed("supernet"):
                supernet.train_supernet(context)
        if context.experiment.search.optimiser is not None:
            with context.timed("optimise"):
                optimise.optimise(context, problem_of(context))
        with context.timed("search"):
            searching.search(context)
    problem = problem_of(context)
    return all(impossible(problem, number) is None for number in range(len(context.experiment.budgets)))


def run(context: Context) -> bool:
    """Every stage; a winner that fails its verification is replaced, as often as `winners.attempts` allows."""
    from nas.stages import export, test, train, verify

    if context.experiment.verify.tvm and not tvm_ready(context):
        context.console.print(Text(f"No TVM libraries: {why_no_tvm(context)}. The run goes on with ONNX.", "yellow"))
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
        verdicts = test.test_winners(context)
    with context.timed("report"):
        page = _report(context)
    _summary(context, verdicts, page)
    return verdicts.kept


def one_stage(name: str, context: Context) -> bool:
    """One stage of ALONE, in a run that has come far enough for it; returns whether it left every budget kept."""
    with context.timed(name):
        return ALONE[name](context)


def _train(context: Context) -> bool:
    from nas.stages import train

    train.train_winners(context)
    return True


def _export(context: Context) -> bool:
    from nas.stages import export

    export.export_winners(context)
    return True


def _verify(context: Context) -> bool:
    from nas.stages import test, verify

    verify.measure_winners(context)
    verdicts = test.test_winners(context)
    _summary(context, verdicts, None)
    return verdicts.kept


def _reported(context: Context) -> bool:
    context.console.print(Text(f"report: {_report(context)}"))
    return True


#: The stages that have a command of their own, by its name.
ALONE: Final[Mapping[str, Callable[[Context], bool]]] = {
    "train": _train,
    "export": _export,
    "verify": _verify,
    "report": _reported,
}


def _report(context: Context) -> Path:
    from nas.report import write_report

    return write_report(context.run.path, context.space)


def _summary(context: Context, verdicts: Verdicts, page: Path | None) -> None:
    for verdict in verdicts.winners:
        context.console.print(_line(verdict))
    for budget, statement in verdicts.unmet:
        context.console.print(Text.assemble((budget.name, "red"), f": not kept; {statement}"))
    if page is not None:
        context.console.print(Text(f"report: {page}"))


def _line(verdict: Verdict) -> Text:
    colour = {"kept": "green", "not kept": "red", "not measured": "yellow"}[verdict.state]
    measured = "" if verdict.measured_s is None else f", measured {format_seconds(verdict.measured_s)}"
    bound = "" if verdict.upper_95_s is None else f" (95 %: below {format_seconds(verdict.upper_95_s)})"
    limit = "" if verdict.budget_s is None else f", budget {format_seconds(verdict.budget_s)}"
    accuracy = "" if verdict.test_accuracy is None else f", test accuracy {verdict.test_accuracy:.2%}"
    reason = f"; {verdict.reason}" if verdict.reason else ""
    figures = f"{limit}{measured}{bound}{accuracy}{reason}"
    return Text.assemble((verdict.name, "bold"), ": ", (verdict.state, colour), figures)
