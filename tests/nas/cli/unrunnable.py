"""Well-formed experiments that cannot be carried out, each in its own way, and what has to be said of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas.devices.measurement import ExitTime, Measurement
from nas.process.files import append_jsonl
from search_spaces.mobile import mobile
from search_spaces.staged import Stage
from tests.nas.small_runs import SMALL, small

Changes = Mapping[str, Any]
TARGET: Changes = SMALL["target"]
WORST = [{"name": "worst", "latency": "200 ms"}]
SCRATCH = {"training": "scratch"}


def target(**changes: Any) -> Changes:
    return {"target": {**TARGET, **changes}, "budgets": WORST}


def search(**changes: Any) -> Changes:
    return {"search": {**SMALL["search"], **changes}}


def ranked(evaluator: Changes | None = None, **changes: Any) -> Changes:
    """Networks ranked by a zero-cost score."""
    named = {"evaluator": {"name": "zero_cost", **(evaluator or {})}, "objectives": ["score"]}
    return {**search(**{**named, **changes}), "winners": SCRATCH, "budgets": WORST}


def stage(options: Changes | None = None, **changes: Any) -> Changes:
    (first,) = SMALL["space"]["stages"]
    return {"space": {**SMALL["space"], "stages": [
        {**first, **changes, "options": {**first["options"], **(options or {})}}
    ]}}  # fmt: skip


#: Code of somebody's own that is wrong in a way that shows when it is used.
OWN = """
from nas.searchers.random import RandomSearch
from nas.tasks.image_classification.dataset import RawData
from latency_models.roofline import Roofline
from search_spaces.staged import Stage, StagedSpace
from search_spaces.mobile import conv_bn, linear_exit

class Ample(Roofline):
    def fit(self, networks, seconds):
        raise ValueError(f"{len(networks)} networks are too few for me")

class Blunt:
    needs, has_history = ("logits",), False
    def scores(self, outputs):
        return outputs["logits"].max(-1)[:, 0]
    def start(self):
        return None
    def step(self, state, outputs):
        return None, 0.0

class Endless(Blunt):
    def scores(self, outputs):
        return outputs["logits"].max(-1) / 0.0

class Shy(RandomSearch):
    def __init__(self, problem):
        raise KeyError("problem")

class Forgetful(Roofline):
    @classmethod
    def load(cls, file):
        raise ValueError("what was stored?")

class Dear(Roofline):
    def additive(self, space):
        raise ZeroDivisionError("priced by nothing")

def nothing() -> RawData:
    raise IndexError("no image")

def _block(b, name, x, width, stride, activation, options):
    kind = options["kind"]
    return conv_bn(b, f"{name}.conv", x, width, 3, "relu", stride if kind else 1)

def torn(input_shape, classes):
    return StagedSpace(
        "torn", tuple(input_shape), classes, (Stage((8,), (1,), 2, {"kind": (0, 1)}),),
        lambda b, x: conv_bn(b, "stem", x, 8, 3), _block, linear_exit,
        lambda b, x, classes: linear_exit(b, "final", x, classes), max_exits=0,
    )

def unfinished(input_shape, classes):
    return object()
"""

CASES: Mapping[str, tuple[Changes, str]] = {
    # Threads: what `nas profile` refuses, for this machine and for another; of a budget's own target too.
    "threads": (target(threads=999), "target.threads is 999, and this process may use "),
    "threads_there": (
        {"target": {"device": "rpi4b", "runner": "onnxruntime", "threads": 5}},
        "target.threads is 5, and rpi4b has 4 cores",
    ),
    "threads_of_a_budget": (
        {"budgets": [{"latency": "1 ms", "target": {**TARGET, "threads": 640}}]},
        "target.threads is 640",
    ),
    # Runtimes and what builds for them.
    "version": (target(runtime_version="0.1"), "the target asks for ONNX Runtime 0.1, here is "),
    "runner_of_a_gpu": (
        {"target": {"device": "jetson_orin_nano_8gb", "runner": "tvm"}},
        "target.runner: tvm cannot be built here for jetson_orin_nano_8gb: ",
    ),
    # Names that become those of files and folders.
    "name": ({"name": "n" * 300}, "becomes a folder, and it has 300 bytes: 220 are the most"),
    "name_of_a_budget": ({"budgets": [{"name": "é" * 150, "latency": "1 ms"}]}, "and it has 300 bytes"),
    "power_mode_of_no_text": (target(power_mode="\ud800"), "give a text, or leave it out"),
    "power_mode": (target(power_mode="X" * 80), "becomes a file's name of 276 bytes"),
    # Tables of stages.
    "expansion": (stage({"expansion": ["x"]}), "stage 0 has expansion 'x'; it takes numbers above 0"),
    "kernel": (stage({"kernel": [[3]]}), "stage 0 has kernel (3,); it takes odd whole numbers"),
    "flag": (stage({"se": ["no"]}), "stage 0 has se 'no'; it takes true or false"),
    "depth": (stage(depths=[100_000]), "a stage's depths are at most 256, got 100000"),
    "width": (stage(widths=[10**400]), "is out of range: whole numbers have at most 100 digits"),
    "activation": (stage(activation="foo"), "no operator 'foo'"),
    "choices": (stage(widths=list(range(8, 2000))), "choices in its slots, each of which is priced, and 10,000 are"),
    "cells": ({"space": {"name": "nasbench201", "cells": 10**9}}, "256 cells per stage"),
    "toy": ({"space": {"name": "toy", "width": 10**9}}, "a stage's widths are at most"),
    # What memory and counters hold.
    "weights": (stage({"expansion": [1]}, widths=[2**20]), "for its 2,199,127,065,620 weights, and this machine has "),
    "batch": (target(batch=10**9), "target.batch is 1000000000: one batch needs "),
    "steps": ({"supernet": {"epochs": 10**15}}, "supernet.epochs is 1000000000000000: these are "),
    "steps_of_winners": ({"winners": {"epochs": 10**15}}, "winners.epochs is 1000000000000000: these are "),
    "networks": ({"calibration": {"networks": 10**10}}, "calibration.networks must be at most 10,000"),
    "subnets": ({"supernet": {"random_subnets": 10**9}}, "supernet.random_subnets must be at most 10,000"),
    "asked": (search(batch=10**9), "search.batch must be at most 10,000"),
    # Parts that are made when a stage begins.
    "searcher": (
        search(searcher={"name": "regularised", "sample": 40}),
        "search.searcher: regularised cannot be made: regularised: 40 of a population of 30 cannot be drawn",
    ),
    "candidates": (search(searcher={"name": "predictor", "candidates": 10**10}), "1 to 1,000,000 to choose from"),
    # Workers; the same section may stand at the top of the file.
    "no_worker": (
        search(executor={"name": "processes", "workers": 0}),
        "search.executor: processes cannot be made: workers is 0",
    ),
    "less_than_no_worker": ({"executor": {"name": "processes", "workers": -3}}, "workers is -3; give at least 1"),
    "no_thread": (
        {"executor": {"name": "processes", "threads_per_worker": 0}},
        "threads_per_worker is 0; give at least",
    ),
    "many_workers_one_by_one": ({"executor": {"name": "serial", "workers": 2}}, "workers is 2, and serial has one"),
    "executor_misspelt": ({"executor": "proceses"}, "did you mean 'processes'?"),
    "executor_twice": (
        {**search(executor="serial"), "executor": "processes"},
        "executor stands at the top and in search, where it means the same",
    ),
    "executor_of_numbers": ({"executor": 2}, "search.executor: expected `name:` and its arguments, got 2"),
    "key_of_an_executor": ({"executor": {"name": "processes", "worker": 2}}, "did you mean 'workers'?"),
    "optimiser": (search(optimiser={"name": "differentiable", "steps": 0}), "must be at least 1, got 0"),
    "evaluator": (
        {**search(evaluator={"name": "train", "epochs": 10**15}), "winners": {"training": "scratch"}},
        "search.evaluator.epochs is 1000000000000000",
    ),
    # Scores that are no accuracies.
    "score_called_accuracy": (ranked(objectives=["accuracy", "params"]), "write `objectives: [score, params]`"),
    "score_called_balanced": (ranked(objectives=["balanced_accuracy"]), "gives networks a score that is no accuracy"),
    "accuracy_called_score": (search(objectives=["score", "params"]), "write `objectives: [accuracy, params]`"),
    "score_on_average": ({**ranked(), "budgets": SMALL["budgets"]}, "budget mean is a mean over the data, and"),
    "score_expects": (
        ranked(objectives=["score", "expected_latency"]),
        "search.objectives has expected_latency: evaluator zero_cost looks at no answers",
    ),
    "score_of_one_image": (ranked({"images": 1}), "naswot of 1 images in 1 repeats says nothing; give 2 to "),
    "score_of_too_many": (ranked({"images": 10**9}), "which are those to train on"),
    "score_never_repeated": (ranked({"repeats": 0}), "and at least 1 repeat"),
    "score_of_no_weights": ({**ranked(), "space": "own_parts:torn"}, "such combinations cannot share weights"),
    "features_of_no_weights": (
        {**search(features=["naswot"], evaluator={"name": "train"}), "winners": SCRATCH, "space": "own_parts:torn"},
        "such combinations cannot share weights",
    ),
    "score_finetuned": ({**ranked(), "winners": {}}, "write `winners: {training: scratch}`"),
    "lookup": (
        {"latency_model": {"name": "lookup", "table": "no.npz"}},
        "latency_model: lookup cannot be made: no.npz",
    ),
    "lookup_of_nothing": ({"latency_model": "lookup"}, "needs a device profile and the file of a table of kernels"),
    "table": ({"latency_model": {"name": "table", "latencies": "no.npz"}}, "latency_model: table cannot be made"),
    # Code of somebody's own.
    "own_searcher": (
        search(searcher="own_parts:Shy"),
        "search.searcher: own_parts:Shy cannot be made: it raised KeyError",
    ),
    "own_model": ({"latency_model": "own_parts:Forgetful"}, "cannot be made: what was stored?"),
    "own_fit": (
        {"latency_model": "own_parts:Ample"},
        "cannot be fitted to 4 networks, as many as calibration.networks",
    ),
    "own_scores": ({"exit_policy": "own_parts:Blunt"}, "exit_policy: own_parts:Blunt"),
    "own_endless_scores": ({"exit_policy": "own_parts:Endless"}, "exit_policy: own_parts:Endless"),
    "own_prices": ({"latency_model": "own_parts:Dear"}, "it raised ZeroDivisionError: priced by nothing"),
    "own_data": ({"data": "own_parts:nothing"}, "data: own_parts:nothing cannot be loaded: it raised IndexError"),
    "own_space": ({"space": "own_parts:torn"}, "such combinations cannot share weights"),
    "own_half_space": ({"space": "own_parts:unfinished"}, "object is no search space: it lacks "),
}

#: Experiments at the edge of what is refused.
ALLOWED: Mapping[str, Changes] = {
    "small": {},
    "budget_named_as_a_file_of_the_run": {"budgets": [{"name": "unmet.json", "latency": "200 ms"}]},
    "longest_name": {"name": "n" * 220, "budgets": [{"name": "b" * 220, "latency": "200 ms"}]},
    "deepest": stage(depths=[256]),
    "batch": target(batch=64),
    "there": {"target": {"device": "rpi4b", "runner": "onnxruntime", "threads": 4}},
    "never_trained": {**search(evaluator={"name": "train", "epochs": 1}), "winners": {"training": "scratch"}},
    "optimised": search(optimiser={"name": "differentiable", "steps": 3}),
    "ranked": ranked(),
    "not_measured": {"calibration": {"networks": 0}},
    "no_exits": {"space": {**SMALL["space"], "max_exits": 0}},
}  # fmt: skip


def readings(path: Path, **changes: Any) -> dict[str, Any]:
    """The small experiment with readings of four networks from a file, the second line of which is changed."""
    options = {name: tuple(values) for name, values in SMALL["space"]["stages"][0]["options"].items()}
    space = mobile((1, 8, 8), 10, stages=(Stage((8, 12), (1, 2), 2, options),), max_exits=1)
    rows = []
    for number in range(4):
        genome = space.canonical(np.array([[number % 2, number // 2, 0, 1, 0]]))[0]
        network = space.decode(genome)
        times = tuple(ExitTime(1e-5 * (number + exit_ + 1), 2e-5) for exit_ in range(len(network.exits)))
        key = tuple(genome.tolist())
        rows.append(Measurement(purpose="calibration", target="host-onnxruntime-t1-b1-float32", genome=key,
                                key=network.key, exits=times).to_dict())  # fmt: skip
    append_jsonl(path, rows)
    lines = path.read_text().splitlines()
    # Without the checksum, as whoever edits it on purpose leaves it.
    record = {name: value for name, value in json.loads(lines[1]).items() if name != "@crc32"}
    path.write_text("\n".join([lines[0], json.dumps({**record, **changes}), *lines[2:], ""]))
    return small(calibration={"measurements": str(path)})


def seconds(*values: Any) -> dict[str, Any]:
    """Exits with these medians."""
    return {"exits": [{"median_s": value, "upper_95_s": 1.0, "contended": False} for value in values]}


#: What a file of readings may hold instead of one.
READINGS: Mapping[str, tuple[dict[str, Any], str]] = {
    "zero": (seconds(0), "takes more than 0 seconds"),
    "negative": (seconds(-1e-3), "takes more than 0 seconds"),
    "null": (seconds(None), "which is no finite number"),
    "text": (seconds("fast"), "which is no finite number"),
    "no_number": (seconds(float("nan")), "which is no finite number"),
    "too_many": (seconds(1e-5, 2e-5, 3e-5, 4e-5), "and each takes a positive number"),
    "no_exits": ({"exits": []}, "is no measurement of a network"),
    "genome": ({"genome": "abc"}, "which is no list"),
    "another_genome": ({"genome": [1, 1]}, "does not fit space"),
    "another_key": ({"key": "0" * 64}, "is of another search space"),
    "unknown_key": ({"colour": "red"}, "has no key"),
    "schema": ({"schema": 99}, "a measurement of schema 99"),
}

Prepare = Callable[[Path], dict[str, Any]]
