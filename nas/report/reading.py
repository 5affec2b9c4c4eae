"""A run's folder as data, whatever of it is there.

A file that cannot be read does not stop the page: it is named on it, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hardware_profiles import HOST, ProfileError, Target
from hardware_profiles.plain_yaml import load as load_yaml
from latency_models import LATENCY_MODELS
from latency_models.arrays import DAMAGED
from latency_models.base import LatencyModel
from nas.config import registry
from nas.devices.profile_store import FEWEST
from nas.errors import InputError
from nas.process.files import read_jsonl, unsealed
from nas.report.records import Optimised, Pair, optimised, pair
from nas.run.artefacts import changes_since
from nas.run.elsewhere import Elsewhere, read_elsewhere
from nas.run.layout import RunFiles
from nas.run.lenient_json import LenientJson
from nas.run.soundness import damages
from nas.run.trial import Trial
from nas.run.verdict import BudgetRow, Verdict, Verdicts
from nas.run.verdict_files import measured_hash, read_budget, read_verdict, read_verdicts
from search_spaces.slots import SearchSpace


@dataclass(frozen=True)
class StageTime:
    """Seconds spent in one stage over all its starts; `ended` is false for one that was interrupted last."""

    name: str
    seconds: float
    ended: bool


@dataclass(frozen=True)
class ReportedRun:
    """Everything the page shows; `problems` are files that could not be read, `reused` whose shared weights it took."""

    folder: Path
    name: str
    experiment: LenientJson
    experiment_text: str
    environment: LenientJson
    target: str
    budgets: tuple[BudgetRow, ...]
    optimised: tuple[Optimised, ...]
    trials: tuple[Trial, ...]
    pareto: frozenset[str]
    candidates: dict[str, tuple[Trial, ...]]
    measured: int
    pairs: tuple[Pair, ...]
    held_out_error: float | None
    verified: bool
    winners: tuple[Verdict, ...]
    not_kept: tuple[tuple[str, Verdict], ...]
    elsewhere: tuple[Elsewhere, ...]
    unmet: dict[str, str]
    stages: tuple[StageTime, ...]
    statements: tuple[str, ...]
    reused: str
    problems: tuple[str, ...]

    @property
    def facts(self) -> dict[str, str]:
        """What the run noted of its machine beside its name, as far as it did; in words."""
        noted = self.environment["facts"]
        if not noted:
            return {}
        used, present = noted["cores_used"].number, noted["cores_present"].number
        cores = "" if used is None or present is None else f"{used:.0f} of {present:.0f}"
        return {
            "cores used": cores or "not noted",
            "trains on": noted["trains_on"].text or "not noted",
            "unused GPU": noted["unused_gpu"].text or "none",
            "C++ kernel": noted["compiler"].text or "not used",
            "governor": noted["governor"].text or "not readable",
        }

    @property
    def balanced(self) -> bool:
        """Whether the search chose by balanced accuracy."""
        return any(item.text == "balanced_accuracy" for item in self.experiment["search"]["objectives"].items)

    @property
    def ranked_by(self) -> str:
        """The score that networks were ranked by in place of an accuracy, by name; empty where it was an accuracy."""
        search = self.experiment["search"]
        if not any(item.text == "score" for item in search["objectives"].items):
            return ""
        evaluator = search["evaluator"]
        return evaluator["score"].text or evaluator["name"].text or evaluator.text

    @property
    def devices(self) -> dict[str, str]:
        """Names of the devices by id; the machine of the run goes by its processor."""
        names = {key: profile["name"].text for key, profile in self.environment["profiles"].pairs.items()}
        processor = self.environment["machine"]["processor"].text
        return {**{key: name for key, name in names.items() if name}, **({HOST: processor} if processor else {})}

    def winner_of(self, budget: BudgetRow) -> Verdict | None:
        """The network that was verified for a budget."""
        return next((w for w in self.winners if budget.name == w.name), None)


class _Files:
    """Reads files of the folder and collects what goes wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def name(self, path: Path) -> str:
        """What a file is called on the page."""
        return path.relative_to(self.folder).as_posix()

    def text(self, path: Path) -> str:
        """A file's text, empty where there is none."""
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{self.name(path)}: {error}")
            return ""

    def json(self, path: Path) -> LenientJson:
        """A JSON file, empty where there is none."""
        text = self.text(path)
        try:
            record = json.loads(text) if text else None
            return LenientJson(unsealed(record) if isinstance(record, dict) else record)
        except (ValueError, RecursionError) as error:
            self.problems.append(f"{self.name(path)} is not JSON: {error}")
            return LenientJson()

    def yaml(self, text: str, path: Path) -> LenientJson:
        """Text of a file as YAML."""
        try:
            return LenientJson(load_yaml(text))
        except ValueError as error:
            self.problems.append(f"{self.name(path)} is not YAML: {error}")
            return LenientJson()

    def lines(self, path: Path) -> tuple[LenientJson, ...]:
        """The lines of a JSONL file, none where there is none."""
        try:
            return tuple(map(LenientJson, read_jsonl(path)))
        except (InputError, OSError) as error:
            self.problems.append(f"{self.name(path)}: {error}")
            return ()


def read(folder: Path, space: SearchSpace) -> ReportedRun:
    """Read a run's folder; only a folder that does not exist is an error (InputError)."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; a report is written about a run's folder")
    files, at = _Files(folder), RunFiles(folder)
    experiment_text = files.text(at.experiment)
    experiment = files.yaml(experiment_text, at.experiment)
    front, log = files.json(at.front), files.lines(at.log)
    verdicts = read_verdicts(files.json(at.verify), files.json(at.test), measured_hash(at))
    target = target_key(experiment["target"])
    budgets = [read_budget(b, target_key(b["target"]) or target) for b in experiment["budgets"].items]
    for row in (*(w.budget for w in verdicts.winners), *(budget for budget, _ in verdicts.unmet)):
        if row.name not in {known.name for known in budgets}:
            budgets.append(row)
    measured, pairs, held_out_error = _pairs(files, space, experiment, target)
    return ReportedRun(
        folder=folder,
        name=experiment["name"].text or folder.resolve().name,
        experiment=experiment,
        experiment_text=experiment_text,
        environment=files.json(at.environment),
        target=target or next((w.target for w in verdicts.winners), ""),
        budgets=tuple(budgets),
        optimised=tuple(optimised(record) for b in budgets if (record := files.json(at.optimiser(b.name)))),
        trials=_trials(files, at.trials, files.lines(at.trials)),
        pareto=frozenset(row["key"].text for row in front["pareto"].items),
        candidates={n: _trials(files, at.front, rows.items) for n, rows in front["budgets"].pairs.items()},
        measured=measured,
        pairs=pairs,
        held_out_error=held_out_error,
        verified=verdicts.tested,
        winners=verdicts.winners,
        not_kept=tuple(_not_kept(files, at)),
        elsewhere=read_elsewhere(files.json(at.elsewhere)),
        unmet={budget.name: statement for budget, statement in verdicts.unmet},
        stages=_stages(log),
        statements=tuple(row["statement"].text for row in log if row["statement"].text),
        reused=next((row["supernet"].text for row in log if row["event"].text == "reused"), ""),
        problems=(*files.problems, *_unsound(files, verdicts)),
    )


def _not_kept(files: _Files, at: RunFiles) -> Iterator[tuple[str, Verdict]]:
    """Networks that were trained and did not keep their budgets: the folder, and what was measured."""
    for each in at.all_not_kept():
        record = files.json(each.verdict)
        if record:
            yield files.name(each.root), read_verdict(record, LenientJson())


def _unsound(files: _Files, verdicts: Verdicts) -> Iterator[str]:
    """What is not as it was written, or not what a verdict is about, besides what could not be read for the page."""
    at = RunFiles(files.folder)
    for path, problem in damages(at):
        if not any(files.name(path) in known for known in files.problems):
            yield problem
    for verdict in verdicts.winners:
        for change in changes_since(at.winner(verdict.name), verdict):
            yield f"{files.name(at.winner(verdict.name).root)} is not what was verified: {change}"


def target_key(record: LenientJson) -> str:
    """The key of a target written in the experiment, empty where it is not one."""
    fields = {name: item.value for name, item in record.pairs.items()}
    try:
        return Target(**fields).key
    except (TypeError, ProfileError):
        return record.text


def _trials(files: _Files, path: Path, rows: Sequence[LenientJson]) -> tuple[Trial, ...]:
    trials, unreadable = [], 0
    for line in rows:
        try:
            trials.append(Trial.from_json(line.value))
        except InputError:
            unreadable += 1
    if unreadable:
        files.problems.append(
            f"{files.name(path)}: {unreadable} of {unreadable + len(trials)} networks are of another release"
        )
    return tuple(trials)


def _pairs(
    files: _Files, space: SearchSpace, experiment: LenientJson, target: str
) -> tuple[int, tuple[Pair, ...], float | None]:
    """How many networks were measured, pairs of predicted and measured worst cases, and the model's held-out error."""
    lines = files.lines(RunFiles(files.folder).measurements)
    rows = [line for line in lines if line["purpose"].text == "calibration" and line["target"].text == target]
    again, held_out_error = _in_sample(files, space, experiment, rows)
    found = (pair(line, again.get(line["key"].text) if line in rows else None) for line in lines)
    return len(lines), tuple(p for p in found if p is not None), held_out_error


def _in_sample(
    files: _Files, space: SearchSpace, experiment: LenientJson, rows: Sequence[LenientJson]
) -> tuple[dict[str, float], float | None]:
    """What the run's latency model says, now that it is fitted, of the networks that it was fitted to, by key.

    Only models of ours are loaded: a report runs no code that a run's folder names.
    """
    name = experiment["latency_model"]["name"].text or experiment["latency_model"].text
    path = RunFiles(files.folder).latency_model()
    if name not in LATENCY_MODELS or not path.is_file() or not rows:
        return {}, None
    kind = cast("type[LatencyModel]", registry.load(LATENCY_MODELS[name]))
    try:
        model = kind.load(path)
        networks = {row["key"].text: space.decode(row["genome"].genome) for row in rows}
        seconds = model.predict(list(networks.values())).total_s.tolist()
    except DAMAGED as error:
        files.problems.append(f"{files.name(path)}: {error}")
        return {}, None
    noise = model.error.relative if model.error.networks >= FEWEST else None
    return dict(zip(networks, seconds, strict=True)), noise


def _stages(log: Sequence[LenientJson]) -> tuple[StageTime, ...]:
    found: dict[str, StageTime] = {}
    for row in log:
        name, event = row["stage"].text, row["event"].text
        # This page is written while the log's last stage is the report itself.
        if not name or name == "report" or event not in ("begin", "end"):
            continue
        before = found.get(name, StageTime(name, 0.0, False))
        found[name] = StageTime(name, before.seconds + (row["seconds"].number or 0.0), event == "end")
    return tuple(found.values())
