"""How far has a run come? Read from its folder alone, by whoever asks, whatever of it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nas.errors import InputError
from nas.process.files import read_jsonl
from nas.run.layout import RunFiles
from nas.run.lenient_json import LenientJson
from nas.run.verdict import Verdicts
from nas.run.verdict_files import load_verdicts

#: With the first stage every attempt begins; behind the others come the test and the page.
_FIRST, _TRAINED, _TESTED, _PAGE = "calibrate", "supernet", "test", "report"
#: The event of a run that a sweep has stopped.
STOPPED: Final = "stopped"
_NO_VERDICTS: Final = Verdicts((), (), found=False)


@dataclass(frozen=True)
class Stopped:
    """Where the training of shared weights was stopped by a sweep, and what the run was worth there."""

    epoch: int
    value: float


@dataclass(frozen=True)
class Progress:
    """A run so far: times of day and durations in seconds.

    `ended`: it came to its end; `lost`: without a device that did not answer, so that it may go on when that does.
    `fits` is false where it ended since nothing fits. `stage` is under way since `since_s`, or was when the run was
    interrupted; empty where none is. `trained`: its shared weights are there to their end, `reused`: they are another
    run's. `best` has the best accuracy on validation images that a network within each budget had; `problem` says which
    file cannot be read. `stopped`: a sweep stopped it, and nobody has gone on with it since.
    """

    begun: bool = False
    ended: bool = False
    lost: bool = False
    fits: bool = True
    stage: str = ""
    since_s: float = 0.0
    spent_s: float = 0.0
    trained: bool = False
    reused: bool = False
    judged: int = 0
    best: tuple[float | None, ...] = ()
    verdicts: Verdicts = _NO_VERDICTS
    problem: str = ""
    stopped: Stopped | None = None

    @property
    def over(self) -> bool:
        """Whether nothing is left to do: without a device that did not answer it may go on when that does."""
        return (self.ended and not self.lost) or self.stopped is not None

    @property
    def kept(self) -> bool:
        """Whether it ended with every budget kept."""
        return self.ended and self.fits and self.verdicts.kept


def progress_of(files: RunFiles) -> Progress:
    """How far a run has come; nothing has begun in a folder that is not there."""
    if not files.experiment.is_file():
        return Progress()
    try:
        log, trials, verdicts = read_jsonl(files.log), read_jsonl(files.trials), load_verdicts(files)
    except (InputError, OSError) as error:
        return Progress(begun=True, problem=str(error))
    stage, since_s = _under_way(log)
    attempt = _last_attempt(log)
    nothing = any(row.get("event") == "nothing fits" for row in attempt)
    ended = _ended(attempt, _PAGE) and (nothing or (_ended(attempt, _TESTED) and verdicts.tested))
    return Progress(
        begun=True,
        ended=ended and files.report.is_file(),
        lost=any(row.get("event") == "device lost" for row in attempt),
        fits=not nothing,
        stage=stage,
        since_s=since_s,
        spent_s=sum(LenientJson(row)["seconds"].number or 0.0 for row in log),
        trained=_ended(log, _TRAINED) and files.supernet.is_file(),
        reused=any(row.get("event") == "reused" for row in log),
        judged=len(trials),
        best=_best(trials),
        verdicts=verdicts,
        stopped=_stopped(attempt),
    )


def trained(files: RunFiles) -> bool:
    """Whether the shared weights of a run are there, trained to their end."""
    try:
        return files.supernet.is_file() and _ended(read_jsonl(files.log), _TRAINED)
    except (InputError, OSError):
        return False


def _last_attempt(log: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The log from where the run was begun, or resumed, the last time."""
    starts = [at for at, row in enumerate(log) if (row.get("event"), row.get("stage")) == ("begin", _FIRST)]
    return log[starts[-1] :] if starts else ()


def _stopped(attempt: Sequence[Mapping[str, Any]]) -> Stopped | None:
    for row in map(LenientJson, attempt):
        if row["event"].text == STOPPED:
            return Stopped(int(row["epoch"].number or 0), row["value"].number or 0.0)
    return None


def _ended(log: Sequence[Mapping[str, Any]], stage: str) -> bool:
    return any((row.get("event"), row.get("stage")) == ("end", stage) for row in log)


def _under_way(log: Sequence[Mapping[str, Any]]) -> tuple[str, float]:
    """The stage that began last, and when, if it did not end."""
    for row in map(LenientJson, reversed(log)):
        if row["event"].text in ("begin", "end", STOPPED) and row["stage"].text:
            return (row["stage"].text, row["time"].number or 0.0) if row["event"].text == "begin" else ("", 0.0)
    return "", 0.0


def _best(trials: Sequence[Mapping[str, Any]]) -> tuple[float | None, ...]:
    best: list[float | None] = []
    for trial in map(LenientJson, trials):
        for number, (at, violation) in enumerate(zip(trial["budgets"].items, trial["violation"].numbers, strict=False)):
            best += [None] * (number + 1 - len(best))
            accuracy = at["accuracy"].number
            if accuracy is not None and violation == 0:
                best[number] = max(accuracy, best[number] or 0.0)
    return tuple(best)
