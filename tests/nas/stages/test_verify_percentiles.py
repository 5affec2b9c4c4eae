"""Verify: a percentile of a network with exits is that of single calls over a stream of images."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nas.config import parse
from nas.config.budget import BudgetOf
from nas.deploy import thresholds
from nas.deploy.artefact import Artefact
from nas.devices.base import DeviceFinder, Session, Times, Wanted
from nas.devices.local import InProcess, InProcessSession
from nas.devices.measurement import ExitTime, quantiles_of
from nas.devices.runners import runner_for
from nas.devices.timing.measuring import Clocks
from nas.devices.timing.plan import LEAST_CALLS, Plan
from nas.devices.timing.probe import Probe
from nas.devices.timing.single_calls import SingleJob, SingleReadings, single_calls
from nas.process.files import atomic_write_json, atomic_write_text, read_json, read_jsonl
from nas.run.artefacts import prepared_samples, shipped
from nas.run.context import Context
from nas.run.layout import EXPERIMENT, RunFiles
from nas.run.trial import load_batches
from nas.run.verdict import Verdict
from nas.run.verdict_files import load_verdicts
from nas.run.winners import Winner, files_of, standing, write_choice, write_unmet
from nas.search import settling
from nas.stages import export, train, verify
from tests.nas.opened_runs import opened, untrained
from tests.nas.small_runs import small

EARLY_S, LATE_S, LIMIT_S = 1e-3, 4e-3, 2e-3
#: All that the test part has.
IMAGES = 360


@dataclass
class Camera:
    """A device whose calls take the seconds of the exit that the image takes; its time passes only by calls and rests.

    `asked` has what was to be timed.
    """

    asked: list[Wanted]
    now: float = 0.0

    def time(
        self, session: Session, wanted: Sequence[Wanted], samples: Sequence[Any], plan: Plan
    ) -> Iterator[tuple[str, Times]]:
        for each in wanted:
            self.asked.append(each)
            takes = np.array([EARLY_S, LATE_S])[session.leaving(each.name, samples)]
            single = None if each.single is None else self._calls(each, takes)
            to_exits = tuple(ExitTime(seconds, 1.01 * seconds) for seconds in (EARLY_S, LATE_S))
            over = None if single is None or not single.drawn else ExitTime.of_single(single)
            yield each.name, Times(to_exits, over, None, () if single is None else quantiles_of(single))

    def _calls(self, wanted: Wanted, takes: np.ndarray) -> SingleReadings:
        def spend(seconds: float) -> None:
            self.now += seconds

        def call(place: int) -> None:
            spend(float(takes[place]))

        def wall() -> float:
            return self.now

        assert wanted.single is not None
        probe = Probe(wall, lambda: spend(25e-6))
        clocks = Clocks(wall, wall, probe, waited=lambda alone: None, stolen=lambda: None, sleep=spend)
        job = SingleJob(call, range(len(takes)), wanted.single)
        return single_calls({"": job}, Plan(warm_up_s=0.0), clocks)[""]

    @property
    def finder(self) -> DeviceFinder:
        camera = self

        class Pretended(InProcessSession):
            def time(self, wanted: Sequence[Wanted], *rest: Any, **named: Any) -> dict[str, Times]:
                return dict(camera.time(self, wanted, rest[0], rest[1]))

        class Device(InProcess):
            @contextmanager
            def open(self, artefacts: Mapping[str, Artefact]) -> Iterator[Session]:
                yield Pretended(runner_for(self.target, self.plugins), artefacts)

        return lambda target, profile, plugins: Device(target, plugins)


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one budget, whose network has an early exit and is exported; it was verified by nobody."""
    run = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "winners")
    for name in ("verify.json", "test.json", "report.html"):
        (run / name).unlink()
    _ask(run, "p95")
    with opened(run) as context:
        trials = [trial for batch in load_batches(context.files.trials) for trial in batch]
        trial = next(trial for trial in trials if trial.metrics.get("exits") == 2)
        winner = Winner(context.experiment.budgets[0], trial, 0, None)
        write_choice(context, winner)
        write_unmet(context, {})
        untrained(context, winner)
        train._score(context, winner)
    return run


@pytest.fixture
def run(exported: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(exported, tmp_path / "run")
    return tmp_path / "run"


def _ask(run: Path, of: BudgetOf, every: str | None = None, images: int = IMAGES) -> None:
    """Let the run's budget be of that kind."""
    budget = {"name": "late", "latency": "2 ms", "of": of, **({} if every is None else {"every": every})}
    asked = small(budgets=[budget], verify={"blocks": 3, "block_time": "10 ms", "samples": images, "tvm": False})
    parse.experiment(asked)
    atomic_write_text(run / EXPERIMENT, yaml.safe_dump(asked))


@contextmanager
def asking(run: Path, of: BudgetOf, every: str | None, camera: Camera, images: int = IMAGES) -> Iterator[Context]:
    """The run with another budget, exported for it."""
    _ask(run, of, every, images)
    with opened(run, camera.finder) as context:
        winner = standing(context)[0]["late"]
        write_choice(context, winner)
        export._export(context, winner)
        yield context


def verdict_of(run: Path) -> Verdict:
    (verdict,) = load_verdicts(RunFiles(run)).winners
    return verdict


KINDS: list[tuple[BudgetOf, str | None]] = [("p95", None), ("p99", None), ("p95", "33 ms"), ("p99", "33 ms")]


@pytest.mark.parametrize(("of", "every"), KINDS)
def test_a_network_whose_worst_case_is_too_slow_keeps_a_percentile(run: Path, of: BudgetOf, every: str | None) -> None:
    camera, share = Camera([]), {"p95": 0.95, "p99": 0.99}[of]
    with asking(run, of, every, camera) as context:
        assert verify.measure_winners(context)
    verdict = verdict_of(run)
    assert verdict.worst_case_s == LATE_S > LIMIT_S and verdict.within_budget is True
    assert verdict.measured_s == pytest.approx(EARLY_S) and verdict.upper_95_s == pytest.approx(EARLY_S)
    assert verdict.over_images and verdict.statistic.startswith(f"{of[1:]}th percentile of single calls over a stream")
    assert verdict.every_s == (None if every is None else 0.033)
    assert verdict.exits[0].rate is not None and verdict.exits[0].rate > share
    (judged,) = (each.single for each in camera.asked if each.purpose == "winner")
    assert judged is not None and judged.seed is not None and judged.blocks >= 3
    assert verdict.single_calls is not None and verdict.single_calls >= judged.blocks * LEAST_CALLS[share]
    (row,) = (row for row in read_jsonl(run / "measurements.jsonl") if row["budget"] == "late")
    assert row["rates"][0] == pytest.approx(1 - row["rates"][1]) and row["stream"]["calls"] == verdict.single_calls
    assert row["exits"][-1]["calls"] == 0 and not row["broken"]


@pytest.mark.parametrize(("of", "images"), [("p95", 298), ("p99", 298)])
def test_with_too_few_images_all_calls_pass_every_exit(run: Path, of: BudgetOf, images: int) -> None:
    """As if there were no exits, instead of a stream of images that could certify nothing."""
    camera = Camera([])
    with asking(run, of, None, camera, images) as context:
        verify.measure_winners(context)
        winner = standing(context)[0]["late"]
        assert thresholds.read(files_of(context, winner).root, winner.trial.key, 2) == (math.inf,)
    (judged,) = camera.asked
    assert not judged.leaves and judged.single is not None
    verdict = verdict_of(run)
    assert not verdict.over_images and verdict.statistic == f"{of[1:]} % of single calls"


def test_which_images_come_is_drawn_with_the_seed_and_anew_each_time(run: Path) -> None:
    camera = Camera([])
    with asking(run, "p95", None, camera) as context:
        verify.measure_winners(context)
        verify.measure_winners(context)
        drawn = [each.single.seed for each in camera.asked if each.purpose == "winner" and each.single is not None]
        key = standing(context)[0]["late"].trial.key
        assert drawn == [context.seed("verify", "stream", key, look) for look in (0, 1)]


def beyond(share: float) -> Callable[[Context, Winner], float]:
    """In place of settling: lets so large a share of the test images run on to the last exit."""

    def settled(context: Context, winner: Winner) -> float:
        target = context.experiment.target_of(winner.budget)
        artefact = shipped(context, winner, target, (np.inf,))
        with InProcess(target).open({"": artefact}) as session:
            answers = np.stack([session.run_all("", sample)[0] for sample in prepared_samples(context, "test")])
        scores = np.sort(artefact.policy.scores({"logits": answers}).ravel())
        few = round(share * len(scores))
        threshold = float(scores[few - 1] + scores[few]) / 2 if few else 0.0
        thresholds.write(files_of(context, winner).root, winner.trial.key, (threshold,))
        return winner.budget.latency_s

    return settled


@pytest.mark.parametrize(
    ("of", "share", "measured_s", "kept"),
    [
        ("p95", 0.0, EARLY_S, True),
        ("p95", 0.01, EARLY_S, True),
        ("p95", 0.1, LATE_S, False),
        ("p99", 0.0, EARLY_S, True),
        ("p99", 0.03, LATE_S, False),
    ],
)
def test_what_a_percentile_takes_is_that_of_the_mixture_whatever_the_mean(
    run: Path, of: BudgetOf, share: float, measured_s: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 10 % of the images at the last exit the mean keeps the limit with 1.3 ms, and 95 of 100 calls need 4 ms."""
    monkeypatch.setattr(verify, "settle_thresholds", beyond(share))
    with asking(run, of, None, Camera([])) as context:
        assert verify.measure_winners(context) is kept
    verdict, row = verdict_of(run), read_jsonl(run / "measurements.jsonl")[-1]
    assert verdict.measured_s == pytest.approx(measured_s) and verdict.within_budget is kept
    assert row["stream"]["upper_95_s"] < LIMIT_S and row["broken"] == ([] if kept else ["late"])
    assert row["rates"][1] == pytest.approx(share, abs=2e-3)


def test_images_that_are_too_few_to_exclude_a_later_exit_do_not_keep_it(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of 360 images at the last exit: among all there may be more than 1 in 100, though few calls meet it."""
    monkeypatch.setattr(verify, "settle_thresholds", beyond(1 / IMAGES))
    with asking(run, "p99", None, Camera([])) as context:
        assert not verify.measure_winners(context)
    verdict = verdict_of(run)
    assert verdict.measured_s == pytest.approx(EARLY_S) and verdict.upper_95_s == pytest.approx(LATE_S)


def test_what_was_read_before_a_kill_is_judged_as_it_would_have_been(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "settle_thresholds", beyond(1 / IMAGES))
    with pytest.MonkeyPatch.context() as patch, asking(run, "p99", None, Camera([])) as context:
        patch.setattr(verify, "_judge", lambda *_: False)
        verify.measure_winners(context)
    assert not RunFiles(run).verify.exists()
    with opened(run, lambda *_: None) as context:
        assert verify.judge_what_was_read(context) is False
    assert verdict_of(run).upper_95_s == pytest.approx(LATE_S)


def test_thresholds_are_solved_anew_where_what_is_measured_takes_too_long(run: Path) -> None:
    """The run's own readings are of microseconds: by these the last exit fits, and by the calls it does not."""
    camera = Camera([])
    with asking(run, "p95", None, camera) as context:
        winner = standing(context)[0]["late"]
        exits_s = settling.exit_seconds(context, winner)
        assert exits_s[-1] < 1e-3
        allowed_s = settling.settle_thresholds(context, winner)
        found = thresholds.read(files_of(context, winner).root, winner.trial.key, 2)
    assert allowed_s < LIMIT_S and np.isfinite(found[0])
    assert len(camera.asked) == 2 and all(each.purpose is None and each.leaves for each in camera.asked)


def test_a_verdict_of_an_older_release_says_what_it_measured(run: Path) -> None:
    with asking(run, "p99", None, Camera([])) as context:
        verify.measure_winners(context)
    record = read_json(run / "verify.json", "")
    del record["winners"][0]["single_calls"]["over_images"]
    atomic_write_json(run / "verify.json", record)
    assert verdict_of(run).statistic == "99 % of single calls"
