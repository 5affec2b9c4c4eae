"""What is wrong with an experiment is said with its key, its value and a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from nas.config import parse
from nas.errors import InputError
from search_spaces.staged import Stage
from tests.nas.small_runs import small

STAGE: dict[str, Any] = {"widths": [8], "depths": [1], "stride": 2, "options": {}}


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        parse.experiment(data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "digit"}, "data.name: there is no data 'digit'; did you mean 'digits'? Known: cifar10,"),
        ({"space": "zzz"}, "space.name: there is no space 'zzz'. Known: "),
        ({"search": {"searcher": "nsga3"}}, "did you mean 'nsga2'?"),
        ({"latency_model": {"name": "rooflin"}}, "did you mean 'roofline'?"),
        ({"suprenet": {"epochs": 3}}, "suprenet: an experiment has no key 'suprenet'; did you mean 'supernet'?"),
        ({"search": {"sercher": "random"}}, "search.sercher: search has no key 'sercher'; did you mean 'searcher'?"),
        ({"search": {"searcher": {"name": "nsga2", "populaton": 3}}}, "did you mean 'population'?"),
        ({"space": {"name": "toy", "input_shape": [3, 8, 8]}}, "space.input_shape: toy has no key"),
        ({"data": {"name": "npz"}}, "data.path is missing; npz needs it"),
        ({"data": {"name": "npz", "path": 3}}, "data.path: input should be a valid string, got 3"),
        ({"data": {"path": "x"}}, "data: expected `name:` and its arguments"),
        ({"supernet": {"epochs": "many"}}, "supernet.epochs: input should be a valid integer, got 'many'"),
        ({"supernet": {"epochs": True}}, "supernet.epochs: input should be a valid integer, got true"),
        ({"supernet": {"epochs": None}}, "supernet.epochs: input should be a valid integer, got null"),
        ({"supernet": {"epochs": [1, [2]]}}, "supernet.epochs: input should be a valid integer, got [1, [2]]"),
        ({"supernet": {"epochs": 0}}, "supernet.epochs must be at least 1, got 0"),
        ({"supernet": {"weight_decay": float("nan")}}, "supernet.weight_decay: input should be a finite number"),
        ({"supernet": {"label_smoothing": 1.0}}, "supernet.label_smoothing"),
        ({"supernet": [1]}, "supernet: expected keys and values, got [1]"),
        ({"supernet": {"max_time": 60}}, "supernet.max_time of 60 has no unit; write '60 ms' or '60 s'"),
        ({"search": {"objectives": ["accuracy", "speed"]}}, "search.objectives[1]: input should be 'accuracy',"),
        ({"search": {"objectives": ["params"]}}, "search.objectives must be different and contain one of accuracy,"),
        (
            {"search": {"objectives": ["accuracy", "balanced_accuracy"]}},
            "accuracy, balanced_accuracy and score, got acc",
        ),
        ({"splits": {"val": 2}}, "splits: val is 2"),
        ({"space": {"name": "mobile", "stages": [STAGE | {"widths": [8, 8]}]}}, "space.stages[0]: a stage's widths"),
        ({"budgets": []}, "budgets must name at least one"),
        ({"budgets": {"latency": "8 ms"}}, "budgets: expected a list such as `[{latency: 8 ms}]`, got {'latency'"),
        ({"budgets": ["8 ms"]}, "budgets[0]: expected keys and values, got '8 ms'"),
        ({"budgets": [{"latency": 8}]}, "budgets[0].latency of 8 has no unit; write '8 ms' or '8 s'"),
        ({"budgets": [{"latency": "8 MiB"}]}, "budgets[0].latency of '8 MiB' has the unit 'MiB'"),
        ({"budgets": [{"latency": "0 ms"}]}, "budgets[0].latency of '0 ms' is impossible"),
        (
            {"budgets": [{"latency": "8 ms", "of": "mean"}]},
            "input should be 'worst_case', 'expected', 'p95' or 'p99', got 'mean'",
        ),
        ({"budgets": [{"latency": "8 ms"}, {"latency": "8 ms"}]}, "two budgets have the same name"),
        ({"budgets": [{"latency": "8 ms", "name": "../x"}]}, "budget name '../x' becomes a folder"),
        ({"budgets": [{"latency": "8 ms", "name": ".tmp-x"}]}, "budget name '.tmp-x' becomes a folder"),
        ({"budgets": [{"latency": "8 ms", "target": "host"}]}, "budgets[0].target: expected keys and values, got"),
        ({"budgets": [{"latency": "8 ms", "target": {"device": "rpi4b"}}]}, "budgets[0].target.runner is missing"),
        ({"name": "a/b"}, "the experiment's name 'a/b' becomes a folder"),
        ({"name": 3}, "name: input should be a valid string, got 3"),
        (
            {"target": {"device": "host", "runner": "tflite"}},
            "there is no target.runner 'tflite'. Known: onnxruntime, tvm",
        ),
        ({"target": {"device": "host", "runner": "onnxruntim"}}, "did you mean 'onnxruntime'? Known: onnxruntime, tvm"),
        ({"target": {"device": "host", "runner": "TF lite"}}, "target runner is 'TF lite'; give the name of one"),
        ({"target": {"device": "host", "runner": "mine:Mine"}}, "which nobody allowed to run: if you trust it, add"),
        ({"target": {"device": "Host", "runner": "onnxruntime"}}, "this machine is written `host`"),
        ({"target": {"device": "host", "runner": "onnxruntime", "dtype": "int8"}}, "networks are exported in float32"),
        ({"target": {"device": "host", "runner": "onnxruntime", "threads": 0}}, "target: target threads is 0"),
        ({"target": {"device": "host", "runner": "onnxruntime", "batch": 8}}, "it needs a target with batch 1, not 8"),
    ],
)
def test_what_is_wrong_is_said_with_key_value_and_remedy(change: dict[str, Any], message: str) -> None:
    assert message in refusal(small(**change))


@pytest.mark.parametrize("key", ["data", "target", "budgets"])
def test_what_is_missing_is_said_with_an_example(key: str) -> None:
    assert refusal(small(key)).startswith(f"`{key}` is missing; write for example `{key}: ")
    assert refusal(small("name")) == "name is missing; an experiment needs it"


def test_the_runner_of_a_budget_of_its_own_is_looked_at_too() -> None:
    there = {"device": "host", "runner": "tflite"}
    assert "there is no target.runner 'tflite'" in refusal(small(budgets=[{"latency": "8 ms", "target": there}]))


def test_a_batch_is_for_worst_cases() -> None:
    data = small(budgets=[{"latency": "8 ms"}], target={"device": "host", "runner": "onnxruntime", "batch": 8})
    assert parse.experiment(data).target.batch == 8


def test_a_message_stays_short_whatever_was_written() -> None:
    assert len(refusal(small(budgets="x" * 10_000))) < 300
    assert len(refusal(small(supernet={"epochs": [[0] * 1000] * 1000}))) < 500


def test_stages_of_a_space_are_written_as_tables() -> None:
    space = parse.experiment(small()).space
    assert space.arguments["stages"] == (
        Stage((8, 12), (1, 2), 2, {"kernel": (3,), "expansion": (1, 2), "se": (False,)}),
    )
    stages = small()["space"]["stages"]
    stages[0]["depth"] = [1]
    assert "space.stages[0].depth: space.stages[0] has no key 'depth'; did you mean 'depths'?" in refusal(
        small(space={"name": "mobile", "stages": stages})
    )
    assert "space.stages[0].stride is missing" in refusal(
        small(space={"name": "mobile", "stages": [{"widths": [8], "depths": [1], "options": {}}]})
    )
    assert "space.stages[0]: expected keys and values" in refusal(small(space={"name": "mobile", "stages": [3]}))
