"""The order of the stages, and whether a run ended with every budget kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas.errors import NothingFits
from nas.run.artefacts import tvm_ready, why_no_tvm
from nas.run.context import Context
from nas.run.soundness import require_sound
from nas.run.verdict import Verdicts
from nas.run.winners import chosen_key
from nas.search.feasibility import impossible
from nas.search.problem import problem_of


@dataclass(frozen=True)
class Ended:
    """How a run, or a stage of it, ended: with verdicts, and with a report, where it came to them.

    `possible` says whether some network may keep each budget.
    """

    verdicts: Verdicts | None = None
    page: Path | None = None
    possible: bool = True

    @property
    def kept(self) -> bool:
        """Whether nothing is known to be wrong: every budget kept, as far as verdicts were given."""
        return self.possible if self.verdicts is None else self.verdicts.kept


def search(context: Context) -> Ended:
    """Calibrate, train the supernet, optimise, search.

    Raises NothingFits before anything is trained where no network can keep any budget.
    """
    from nas.stages import calibrate, optimise, supernet
    from nas.stages import search as searching

    require_sound(context.files)
    with context.timed("calibrate"):
        context.with_devices(lambda: calibrate.calibrate(context))
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
        # Devices that came back while networks were judged.
        context.with_devices(lambda: calibrate.calibrate(context))
    problem = problem_of(context)
    numbers = range(len(context.experiment.budgets))
    return Ended(possible=all(impossible(problem, number) is None for number in numbers))


def run(context: Context) -> Ended:
    """Every stage; a winner that fails its verification is replaced, as often as `winners.attempts` allows."""
    from nas.stages import export, test, train, verify

    if context.experiment.verify.tvm and not tvm_ready(context):
        context.voice.warning(f"No TVM libraries: {why_no_tvm(context)}. The run goes on with ONNX.")
    try:
        search(context)
    except NothingFits as error:
        context.run.log("nothing fits", statement=error.statement)
        with context.timed("report"):
            _report(context)
        raise
    verify.judge_what_was_read(context)
    # What a run that was killed had tried counts as it would have in the same process.
    chosen, tried = test.verified_before(context)
    for _ in range(0 if test.is_settled(context) else context.experiment.winners.attempts - tried):
        before = chosen
        with context.timed("train"):
            context.with_devices(lambda: train.train_winners(context))
        chosen = {budget.name: chosen_key(context, budget) for budget in context.experiment.budgets}
        if chosen == before:
            break  # measured again until it happens to be within, a network would prove nothing
        with context.timed("export"):
            export.export_winners(context)
        with context.timed("verify"):
            settled = context.with_devices(lambda: verify.measure_winners(context))
        if settled:
            break
    with context.timed("test"):
        verdicts = context.with_devices(lambda: test.test_winners(context))
    with context.timed("report"):
        page = _report(context)
    return Ended(verdicts, page)


def one_stage(name: str, context: Context) -> Ended:
    """One stage of ALONE, in a run that has come far enough for it; the report shows damaged files, others refuse."""
    if name != "report":
        require_sound(context.files)
    with context.timed(name):
        return ALONE[name](context)


def _train(context: Context) -> Ended:
    from nas.stages import train, verify

    verify.judge_what_was_read(context)
    context.with_devices(lambda: train.train_winners(context))
    return Ended()


def _export(context: Context) -> Ended:
    from nas.stages import export

    export.export_winners(context)
    return Ended()


def _verify(context: Context) -> Ended:
    from nas.stages import test, verify

    context.with_devices(lambda: verify.measure_again(context))
    return Ended(context.with_devices(lambda: test.test_winners(context)))


def _reported(context: Context) -> Ended:
    return Ended(page=_report(context))


#: The stages that have a command of their own, by its name.
ALONE: Final[Mapping[str, Callable[[Context], Ended]]] = {
    "train": _train,
    "export": _export,
    "verify": _verify,
    "report": _reported,
}


def _report(context: Context) -> Path:
    from nas.report import write_report

    return write_report(context.run.path, context.space)
