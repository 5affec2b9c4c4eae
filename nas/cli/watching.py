"""What a person sees of a run on the terminal: its events as they come, and its verdicts at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from nas.config.units import format_seconds
from nas.process.events import Event, Voice

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
    from rich.status import Status

    from nas.run.verdict import Verdict
    from nas.stages.order import Ended

_STYLES: Final = {"stage": "bold", "note": "", "warning": "yellow"}
_COLOURS: Final = {"kept": "green", "not kept": "red", "not measured": "yellow"}

#: How often a spinner is drawn.
_DRAWN_PER_S: Final = 2.0
#: An accuracy so much above the balanced one hides how rare classes fare.
_UNBALANCED: Final = 0.02


class Terminal:
    """A watcher that prints, and shows what takes a while with a spinner or a bar."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if event.kind == "doing":
            # Its thread wakes to draw: seldom, as what is measured may be in this process.
            self._status = self._console.status(Text(event.text), refresh_per_second=_DRAWN_PER_S)
            self._status.start()
        elif event.kind == "step":
            self._step(event)
        elif event.kind == "done":
            self._stop()
        else:
            self._console.print(Text(event.text, _STYLES[event.kind]))

    def _step(self, event: Event) -> None:
        if self._bar is None or self._task is None:
            text = TextColumn("{task.description}", markup=False)
            columns = (
                text,
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[value]}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(event.text, total=event.total, completed=event.step, value="")
            self._bar.start()
        value = "" if event.value is None else f"loss {event.value:.3f}"
        self._bar.update(self._task, completed=event.step, value=value)

    def _stop(self) -> None:
        for shown in (self._status, self._bar):
            if shown is not None:
                shown.stop()
        self._status = self._bar = self._task = None


def voice(console: Console) -> Voice:
    """What a run says, on a console."""
    return Voice(Terminal(console))


def show(console: Console, ended: Ended) -> None:
    """Print how a run ended: a line per budget, and where the report is."""
    if ended.verdicts is not None:
        for verdict in ended.verdicts.winners:
            console.print(_line(verdict))
        for budget, statement in ended.verdicts.unmet:
            console.print(Text.assemble((budget.name, "red"), f": not kept; {statement}"))
    if ended.page is not None:
        console.print(Text(f"report: {ended.page}"))


def _line(verdict: Verdict) -> Text:
    predicted = f", {verdict.prediction}" if verdict.prediction else ""
    measured = predicted
    if verdict.measured_s is not None:
        measured = f", measured {format_seconds(verdict.measured_s)}, {verdict.statistic}"
    bound = "" if verdict.upper_95_s is None else f" (95 %: below {format_seconds(verdict.upper_95_s)})"
    if verdict.p95_s is not None and verdict.p99_s is not None:
        bound += f"; of single calls 95 % below {format_seconds(verdict.p95_s)}, 99 % {format_seconds(verdict.p99_s)}"
    limit = "" if verdict.budget_s is None else f", budget {format_seconds(verdict.budget_s)}"
    accuracy = "" if verdict.test_accuracy is None else f", test accuracy {verdict.test_accuracy:.2%}"
    balanced = verdict.balanced_accuracy
    if balanced is not None and verdict.test_accuracy is not None and verdict.test_accuracy - balanced > _UNBALANCED:
        accuracy += f" (balanced {balanced:.2%})"
    reason = f"; {verdict.reason}" if verdict.reason else ""
    figures = f"{limit}{measured}{bound}{accuracy}{reason}"
    return Text.assemble((verdict.name, "bold"), ": ", (verdict.state, _COLOURS[verdict.state]), figures)
