"""Stages one by one, on copies of a run that is finished: what they take up again, and what they do in bad times."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from hardware_profiles import Target, load
from nas import config
from nas.devices.measurement import ExitTime, Measurement
from nas.devices.timing import measuring as timing
from nas.devices.timing.readings import Readings
from nas.errors import InputError
from nas.nn.weights import extract, to_bytes
from nas.process.files import EXPERIMENT, RunFolder, append_jsonl, atomic_write_bytes, atomic_write_text, read_jsonl
from nas.run.context import Context, materials, open_context
from nas.run.trial import load_batches
from nas.search import scoring as judge
from nas.stages import latency, search, supernet, train, verify, winners
from nas.stages import test as testing
from search_spaces.slots import sizes
from tests.nas.small_runs import SMALL, Command, small, write

HERE = Target("host", "onnxruntime")


@contextmanager
def opened(run: Path) -> Iterator[Context]:
    """A run's context, as a stage is given it."""
    experiment = config.load(run / EXPERIMENT)
    found = materials(experiment, begun=True)
    with RunFolder.open(run, resume=True) as folder:
        yield open_context(experiment, found, folder, Console(quiet=True))


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def rewind(run: Path, to: str) -> None:
    """Take away what the stages behind `to` have written."""
    gone = ["verify.json", "report.html"]
    if to in ("calibrate", "supernet"):
        gone += ["trials.jsonl", "front.json"]
    if to == "calibrate":
        gone += ["supernet.safetensors"]
    for name in gone:
        (run / name).unlink()
    shutil.rmtree(run / "winners")
    rows = [row for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] == "calibration"]
    (run / "measurements.jsonl").unlink()
    append_jsonl(run / "measurements.jsonl", rows)


# The context.


def test_an_experiment_of_an_older_release_is_the_same_experiment(run: Path) -> None:
    """What it does not mention has its default."""
    data = yaml.safe_load((run / EXPERIMENT).read_text())
    del data["supernet"]["augment"], data["winners"]["training"], data["splits"], data["latency_model"]
    (run / EXPERIMENT).write_text(yaml.safe_dump(data))
    with RunFolder.open(run, resume=True) as folder:
        experiment = config.experiment(small())
        assert open_context(experiment, materials(experiment), folder, Console(quiet=True)).experiment == experiment


def test_seeds_derive_from_what_they_are_for(run: Path) -> None:
    with opened(run) as context:
        assert context.seed("a", "b") == context.seed("a", "b") != context.seed("ab")
        other = replace(context, experiment=replace(context.experiment, seed=1))
        assert other.seed("a", "b") != context.seed("a", "b")


def test_a_batch_that_is_larger_than_the_data_is_refused_before_anything_is_done() -> None:
    for section in ("supernet", "winners"):
        experiment = config.experiment(small(**{section: {"batch_size": 914}}))
        with pytest.raises(InputError, match=rf"{section}\.batch_size is 914, but only 913 images"):
            materials(experiment)


# Calibration.


def test_calibration_measures_different_networks_the_smallest_and_the_largest_among_them(run: Path) -> None:
    with opened(run) as context:
        chosen = latency._chosen(context, 6)
        keys = [context.space.decode(genome).key for genome in chosen]
        assert len(set(keys)) == 6
        limits = sizes(context.space)
        for corner in (np.zeros_like(limits), limits - 1):
            assert context.space.decode(corner).key in keys
        assert [genome.tolist() for genome in latency._chosen(context, 3)] == [g.tolist() for g in chosen[:3]]


@pytest.mark.parametrize("kept", [0, 1, 3, 4])
def test_what_was_measured_is_not_measured_again(run: Path, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rewind(run, "calibrate")
    found = {row["key"]: row for row in read_jsonl(run / "measurements.jsonl")}
    for row in found.values():  # how stable this machine was is not the subject
        row["reference_s"] = None
        for exit_ in row["exits"]:
            exit_ |= {"drifted": False, "disturbed": 0.0}
    rows = tuple(found.values())
    (run / "measurements.jsonl").unlink()
    (run / "latency_model.npz").unlink()
    append_jsonl(run / "measurements.jsonl", rows[:kept])
    asked: list[int] = []

    def time_networks(space: Any, genomes: Sequence[Any], *rest: Any) -> tuple[Measurement, ...]:
        asked.append(len(genomes))
        found = {tuple(row["genome"]): Measurement.from_dict(row) for row in rows}
        return tuple(found[tuple(genome)] for genome in genomes)

    monkeypatch.setattr(latency, "time_networks", time_networks)
    with opened(run) as context:
        latency.calibrate(context)
        assert read_jsonl(run / "measurements.jsonl") == rows
        assert asked == ([4 - kept] if kept < 4 else [])
        assert latency.load_model(context, HERE).calibration.networks == 4


def test_readings_can_be_borrowed(run: Path, finished: Path) -> None:
    rewind(run, "calibrate")
    before = (run / "latency_model.npz").read_bytes()
    rows = read_jsonl(run / "measurements.jsonl")
    (run / "latency_model.npz").unlink()
    (run / "measurements.jsonl").unlink()
    append_jsonl(run / "measurements.jsonl", rows[:1])  # as if it had been killed while it wrote
    with opened(run) as context:
        borrowing = replace(
            context.experiment,
            calibration=replace(context.experiment.calibration, measurements=str(finished / "measurements.jsonl")),
        )
        latency.calibrate(replace(context, experiment=borrowing))
    assert read_jsonl(run / "measurements.jsonl") == rows
    assert (run / "latency_model.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "rpi4b-onnxruntime-t1-b1-float32"}, "has no calibration readings of host-onnxruntime"),
        ({"purpose": "winner"}, "has no calibration readings of host-onnxruntime"),
        ({"key": "0" * 64}, "is of another search space than mobile-8x8"),
        ({"schema": 7}, "a measurement of schema 7; this version reads 1"),
    ],
)
def test_only_readings_of_the_same_thing_are_borrowed(run: Path, change: dict[str, Any], message: str) -> None:
    rewind(run, "calibrate")
    foreign = run.parent / "foreign.jsonl"
    append_jsonl(foreign, [{**row, **change} for row in read_jsonl(run / "measurements.jsonl")])
    (run / "measurements.jsonl").unlink()
    (run / "latency_model.npz").unlink()
    with opened(run) as context:
        borrowing = replace(
            context.experiment, calibration=replace(context.experiment.calibration, measurements=str(foreign))
        )
        with pytest.raises(InputError, match=message):
            latency.calibrate(replace(context, experiment=borrowing))
    assert not (run / "latency_model.npz").exists()


# Training within a time.


def test_a_time_is_turned_into_steps_once(run: Path) -> None:
    timed: list[int] = []

    def time_steps() -> list[float]:
        timed.append(1)
        return [0.1] * (4 + len(timed))

    with opened(run) as context:
        assert supernet.planned_steps(context, "x", 100, None, time_steps) == 100 and not timed
        assert supernet.planned_steps(context, "x", 100, 2.0, time_steps) == 20
        assert supernet.planned_steps(context, "x", 100, 7.0, time_steps) == 20  # written down
        assert supernet.planned_steps(context, "y", 5, 2.0, time_steps) == 5
        assert supernet.planned_steps(context, "z", 5, 1e-9, time_steps) == 1
        assert len(timed) == 3


# The search.


@pytest.mark.parametrize(
    ("lines", "torn"), [(0, b'{"batch":0,"slo'), (3, b""), (5, b'{"batch":1,"slo'), (7, b'{"'), (11, b"{"), (12, b"")]
)
def test_a_search_that_was_cut_off_anywhere_goes_on_to_the_same_end(
    run: Path, finished: Path, lines: int, torn: bytes
) -> None:
    whole = (run / "trials.jsonl").read_bytes()
    (run / "trials.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]) + torn)
    (run / "front.json").unlink()
    with opened(run) as context:
        search.search(context)
    assert (run / "trials.jsonl").read_bytes() == whole
    assert (run / "front.json").read_bytes() == (finished / "front.json").read_bytes()


def test_a_search_ends_when_the_space_is_exhausted(run: Path) -> None:
    rewind(run, "supernet")
    with opened(run) as context:
        settings = replace(context.experiment.search, evaluations=1000)
        search.search(replace(context, experiment=replace(context.experiment, search=settings)))
        keys = [trial.key for batch in load_batches(run / "trials.jsonl") for trial in batch]
        grid = np.stack(np.unravel_index(np.arange(np.prod(sizes(context.space))), tuple(sizes(context.space))), axis=1)
        assert len(keys) == len(set(keys)) == len(np.unique(context.space.canonical(grid), axis=0))


def test_a_log_that_the_searcher_would_not_have_written_is_refused(run: Path) -> None:
    (run / "front.json").unlink()
    with opened(run) as context:
        settings = replace(context.experiment.search, searcher=config.part("random", "searcher", "search.searcher"))
        other = replace(context.experiment, seed=1, search=settings)
        with pytest.raises(InputError, match=r"trials\.jsonl holds other genomes in batch 0 than searcher random asks"):
            search.search(replace(context, experiment=other))


def test_a_network_at_a_budget_that_it_cannot_keep_is_nothing(run: Path) -> None:
    with opened(run) as context:
        problem = search.problem_of(context)
        found = judge.Scores(np.array([[0.9, 0.8], [0.4, 0.7]]), np.array([[True, False], [False, True]]))
        reach = {HERE: np.array([1e-5, 3e-5])}
        worst, mean = judge.at_budgets(problem, found, reach, np.array([0.5, 0.0]))
        assert worst is None and mean is not None
        assert mean.accuracy == 1.0 and mean.rates == (0.5, 0.5)
        figures, curve = judge.metrics(found, reach[HERE], {"params": 3})
        assert figures["accuracy"] == 1.0 and figures["final_accuracy"] == 0.5 and figures["params"] == 3
        assert figures["worst_case_latency_s"] == 3e-5 and figures["exits"] == 2
        assert [fraction for fraction, _, _ in curve] == [0.4, 0.6, 0.8, 1.0]
        assert curve[0][1] == pytest.approx(1e-5) and curve[0][2] == 0.5 and curve[-1][2] == 1.0


# The winners.


def slow(seconds: float) -> Callable[..., tuple[Measurement, ...]]:
    """Times every network at so many seconds."""

    def time_networks(
        space: Any, genomes: Sequence[Any], target: Target, purpose: Any, *rest: Any
    ) -> tuple[Measurement, ...]:
        return tuple(
            Measurement(
                purpose,
                target.key,
                tuple(int(gene) for gene in genome),
                space.decode(genome).key,
                tuple(ExitTime(seconds, seconds) for _ in space.decode(genome).exits),
            )
            for genome in genomes
        )

    return time_networks


def test_a_budget_that_no_candidate_keeps_is_said_not_to_be_kept(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind(run, "search")
    monkeypatch.setattr(winners, "time_networks", slow(1.0))
    done = nas("run", write(run.parent, SMALL), "--out", str(run), "--resume")
    assert done.code == 3 and done.err == ""
    record = json.loads((run / "verify.json").read_text())
    assert record["kept"] is False and record["winners"] == []
    for unmet, budget in zip(record["unmet"], SMALL["budgets"], strict=True):
        assert unmet["budget"]["name"] == budget["name"]
        assert (
            "none kept it; the fastest took 1.00 s" in unmet["statement"] and "Raise the budget" in unmet["statement"]
        )
        assert f"{budget['name']}: not kept" in done.out
    measured = [row for row in read_jsonl(run / "measurements.jsonl") if row["purpose"] == "candidate"]
    assert 0 < len(measured) <= 2 * config.experiment(small()).winners.attempts
    assert not list((run / "winners").glob("*/*"))
    assert "not kept" in (run / "report.html").read_text()


@pytest.mark.parametrize("drifted", [False, True])
def test_only_steady_readings_of_candidates_move_the_latency_model(
    drifted: bool, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind(run, "search")
    fitted: list[int] = []
    refit = winners.refit

    def counting(context: Context, model: Any, rows: Sequence[Measurement]) -> Any:
        fitted.append(len(rows))
        return refit(context, model, rows)

    def time_networks(*arguments: Any) -> tuple[Measurement, ...]:
        (row,) = slow(1e-3)(*arguments)
        return (replace(row, exits=tuple(replace(exit_, drifted=drifted) for exit_ in row.exits)),)

    monkeypatch.setattr(winners, "refit", counting)
    monkeypatch.setattr(winners, "time_networks", time_networks)
    with opened(run) as context:
        found, _ = winners.choose(context)
        assert found["worst"].measurement is not None
    assert max(fitted) == 0 if drifted else max(fitted) > 0


def test_a_choice_stands_until_it_is_seen_to_break_its_budget(run: Path) -> None:
    with opened(run) as context:
        first, unmet = winners.choose(context)
        assert not unmet and winners.choose(context)[0] == first
        before = read_jsonl(run / "measurements.jsonl")
        broken = first["worst"].trial.key
        row = Measurement.from_dict([row for row in before if row["key"] == broken][-1])
        row = replace(row, purpose="winner", budget="worst", broken=("worst",))
        latency.append_measurements(context, [row])
        second, _ = winners.choose(context)
        assert second["worst"].trial.key != broken
        assert second["mean"] == replace(first["mean"], measurement=second["mean"].measurement)
        # Another reading of the same network, be it for the other budget, does not make it good.
        for budget in ("worst", "mean"):
            latency.append_measurements(context, [replace(row, budget=budget, broken=())])
            shutil.rmtree(run / "winners" / "worst")
            assert winners.choose(context)[0]["worst"].trial.key != broken
        assert winners.measured(context, context.experiment.budgets[0])[broken].broken == ("worst",)


def test_what_belongs_to_a_former_winner_goes_with_it(run: Path) -> None:
    with opened(run) as context:
        first, _ = winners.choose(context)
        row = first["worst"].measurement
        assert row is not None and (run / "winners/worst/model.onnx").exists()
        latency.append_measurements(context, [replace(row, budget="worst", broken=("worst",))])
        winners.choose(context)
        assert [path.name for path in (run / "winners/worst").iterdir()] == ["architecture.json"]
        assert (run / "winners/mean/model.onnx").exists()


def untrained(context: Context, winner: winners.Winner, folder: Path) -> None:
    """Takes the shared weights as they are."""
    network = context.space.decode(winner.genome)
    weights = extract(network, train._with_statistics(network, context))
    atomic_write_bytes(folder / train.WEIGHTS, to_bytes(weights, {"network": winner.trial.key}))


def test_a_network_that_wins_two_budgets_is_trained_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(run) as context:
        found, _ = winners.choose(context)
        both = {name: replace(found["worst"], budget=found[name].budget) for name in ("worst", "mean")}
        trained: list[str] = []

        def once(context: Context, winner: winners.Winner, folder: Path) -> None:
            trained.append(winner.trial.key)
            untrained(context, winner, folder)

        shutil.rmtree(run / "winners")
        monkeypatch.setattr(train, "choose", lambda context: (both, {}))
        monkeypatch.setattr(train, "_train", once)
        for name in both:
            (run / "winners" / name).mkdir(parents=True)
        train.train_winners(context)
        assert trained == [found["worst"].trial.key]
        one, other = ((run / "winners" / name / train.WEIGHTS).read_bytes() for name in both)
        assert one == other


def test_winners_that_break_their_budget_in_the_end_are_not_called_kept(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every verification finds the budget broken: others are tried, a bounded number of times, and none is kept."""
    rewind(run, "search")
    measure = verify.measure_together

    def slowed(*arguments: Any) -> dict[str, Readings]:
        readings = measure(*arguments)
        return {name: replace(r, wall_s=r.wall_s * 1e5, cpu_s=r.cpu_s * 1e5) for name, r in readings.items()}

    monkeypatch.setattr(verify, "measure_together", slowed)
    monkeypatch.setattr(verify, "_GAP_S", 0.0)
    monkeypatch.setattr(train, "_train", untrained)
    assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 3
    record = json.loads((run / "verify.json").read_text())
    assert record["kept"] is False and record["winners"] and all(not winner["kept"] for winner in record["winners"])
    for name in ("worst", "mean"):
        rows = [row for row in read_jsonl(run / "measurements.jsonl") if row["budget"] == name]
        tried = [row["key"] for row in rows if row["purpose"] == "winner"]
        assert len(tried) == len(set(tried)) == SMALL["winners"]["attempts"]
        assert all(row["broken"] == [name] for row in rows if row["purpose"] == "winner")


#: A CPU clock of milliseconds that says that we have the core half of the time.
BUSY_AND_COARSE = timing.Clocks(cpu=lambda: round(time.process_time() / 2, 3))


def test_a_winner_that_cannot_be_measured_neither_keeps_nor_breaks_its_budget(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_GAP_S", 0.0)
    with monkeypatch.context() as busy:
        busy.setattr(timing, "Clocks", lambda: BUSY_AND_COARSE)
        done = nas("verify", str(run))
    assert done.code == 3 and "not measurable: the core was busy in 3 of 3 blocks" in " ".join(done.out.split())
    record = json.loads((run / "verify.json").read_text())
    assert record["kept"] is False
    for winner in record["winners"]:
        assert winner["kept"] is winner["within_budget"] is winner["measured_s"] is winner["upper_95_s"] is None
        assert winner["contended"] and winner["reason"].startswith("not measurable: the core was busy")
    rows = [Measurement.from_dict(row) for row in read_jsonl(run / "measurements.jsonl")]
    refused = [row for row in rows if row.refused]
    assert len(refused) == len(SMALL["budgets"]) and not any(row.broken for row in refused)
    assert all(row.worst_upper_s == np.inf and row.contended and row.exits[-1].cpu_s == () for row in refused)
    assert nas("report", str(run)).code == 0
    assert nas("verify", str(run)).code == 0, "the machine is quiet again"
    assert json.loads((run / "verify.json").read_text())["kept"] is True


def test_candidates_that_cannot_be_measured_are_said_to_be_so_and_are_measured_later(
    run: Path, nas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind(run, "search")
    monkeypatch.setattr(verify, "_GAP_S", 0.0)
    monkeypatch.setattr(train, "_train", untrained)
    with monkeypatch.context() as busy:
        busy.setattr(timing, "Clocks", lambda: BUSY_AND_COARSE)
        assert nas("run", write(run.parent, SMALL), "--out", str(run), "--resume").code == 3
    unmet = json.loads((run / "verify.json").read_text())["unmet"]
    assert [record["budget"]["name"] for record in unmet] == [budget["name"] for budget in SMALL["budgets"]]
    for record in unmet:
        assert "2 were not measurable: the core was busy in 3 of 3 blocks" in record["statement"]
    with opened(run) as context:
        found, unmet = winners.choose(context)
    assert list(found) == [budget["name"] for budget in SMALL["budgets"]] and not unmet


def test_an_artefact_that_answers_otherwise_is_no_winner(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "network_logits", lambda *arguments: -train.network_logits(*arguments))
    with opened(run) as context:
        verify.measure_winners(context)
        verdict = testing.test_winners(context)
    assert not verdict.kept
    record = json.loads((run / "verify.json").read_text())
    for winner in record["winners"]:
        assert winner["kept"] is False and winner["parity"]["onnxruntime"]["ok"] is False
        assert winner["reason"] == "onnxruntime answers differently from JAX: see parity"


def test_test_labels_are_read_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(run) as context:
        read: list[int] = []

        class Watched:
            def __getattr__(self, name: str) -> Any:
                if name == "test_labels":
                    read.append(1)
                return getattr(context.data, name)

        watched = replace(context, data=Watched())  # type: ignore[arg-type]
        assert testing.is_settled(watched) and testing.test_winners(watched).kept and not read
        verify.measure_winners(watched)
        assert not read and not testing.is_settled(watched)
        testing.test_winners(watched)
        testing.test_winners(watched)
        assert len(read) == len(SMALL["budgets"])


# A device that is not here.


def test_a_device_elsewhere_is_predicted_and_its_winner_is_not_called_measured(
    run: Path, nas: Command, tmp_path: Path
) -> None:
    """The supernet is the same; only what latencies hold for is another."""
    away = small(target={"device": "rpi4b", "runner": "onnxruntime"})
    experiment = config.experiment(away)
    rewind(run, "supernet")
    (run / "latency_model.npz").unlink()
    environment = json.loads((run / "environment.json").read_text())
    environment["profiles"]["rpi4b"] = load("rpi4b").to_dict()
    atomic_write_text(run / "environment.json", json.dumps(environment))
    atomic_write_text(run / EXPERIMENT, config.dump(experiment))
    done = nas("run", write(tmp_path, away), "--out", str(run), "--resume")
    assert done.code == 3 and "not measured" in done.out
    record = json.loads((run / "verify.json").read_text())
    assert record["kept"] is False
    for winner in record["winners"]:
        assert winner["kept"] is None and winner["measured_s"] is None
        assert "rpi4b is not this machine" in winner["reason"]
        assert winner["target"] == "rpi4b-onnxruntime-t1-b1-float32"
        # At least what the board uses when idle, at most what it is sold for.
        seconds = winner["worst_case_s"] if winner["budget"]["of"] == "worst_case" else winner["expected_s"]
        assert 2.7 * seconds < winner["energy_estimate_j"] < 7.5 * seconds and not winner["energy_estimate_reason"]
    assert all(row["target"] == HERE.key for row in read_jsonl(run / "measurements.jsonl"))
