"""The loop over the exits, on ONNX Runtime."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from hardware_profiles import Target
from nas.deploy import cascade as module
from nas.deploy.artefact import Artefact
from nas.deploy.cascade import Cascade
from nas.devices.runners import runner_for
from nas.devices.runners.base import load_cascade
from nas.exits.policies import MaxProbability


def load(exported: Any, thresholds: Sequence[float | None]) -> Cascade:
    artefact = Artefact(exported.folder, exported.segments, thresholds)
    return load_cascade(runner_for(Target("host", "onnxruntime")), artefact)


def test_all_exits_are_those_of_the_network(exported: Any) -> None:
    outputs = load(exported, (0.5, 0.5)).run_all(exported.sample)
    for output, expected in zip(outputs, exported.logits, strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("never", [math.inf, None, 1.5])
def test_thresholds_out_of_reach_give_the_last_answer(exported: Any, never: float | None) -> None:
    cascade = load(exported, (never, never))
    logits, number = cascade(exported.sample)
    assert number == 2
    np.testing.assert_array_equal(logits, cascade.run_all(exported.sample)[2])


@pytest.mark.parametrize("leave_at", [0, 1, 2])
def test_a_sample_leaves_where_it_is_confident_enough(exported: Any, leave_at: int) -> None:
    answers = np.stack(load(exported, (None, None)).run_all(exported.sample), axis=1)
    sure = MaxProbability().scores({"logits": answers})[0]
    below, above = [s * 0.999 for s in sure], [s * 1.001 for s in sure]
    thresholds = [above[k] if k < leave_at else below[k] for k in range(2)]
    cascade = load(exported, thresholds)
    logits, number = cascade(exported.sample)
    assert number == leave_at
    np.testing.assert_array_equal(logits, cascade.run_to(exported.sample, leave_at))
    np.testing.assert_allclose(logits, exported.logits[leave_at], rtol=1e-5, atol=2e-6)


def test_what_comes_after_the_answer_is_not_run() -> None:
    ran = []

    def program(name: str, logits: list[float]) -> Any:
        def run(*inputs: Any) -> list[Any]:
            ran.append((name, len(inputs)))
            return [np.array([logits], np.float32), np.zeros((1, 2), np.float32)]

        return run

    cascade = Cascade(
        [program("a", [0.0, 0.0]), program("b", [9.0, 0.0]), program("c", [0.0, 1.0])],
        [("image",), ("mid", "image"), ("late",)],
        [("e0", "mid"), ("e1", "late"), ("e2", "rest")],
        (0.9, 0.9),
        MaxProbability(),
    )
    _, number = cascade(np.zeros((1, 4), np.float32))
    assert number == 1
    assert ran == [("a", 1), ("b", 2)]


def test_tensors_that_do_not_meet_are_refused() -> None:
    def program(*inputs: Any) -> list[Any]:
        return [inputs[0]]

    with pytest.raises(ValueError, match="segment 1 takes 'mid'"):
        Cascade([program] * 2, [("image",), ("mid",)], [("e0",), ("e1",)], (0.5,), MaxProbability())
    with pytest.raises(ValueError, match="one threshold less"):
        Cascade([program] * 2, [("image",), ("image",)], [("e0",), ("e1",)], (0.5, 0.5), MaxProbability())


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, st.tuples(st.just(1), st.integers(1, 50)), elements=st.floats(-1e4, 1e4, width=32)))
def test_the_score_is_the_largest_softmax_probability(logits: Any) -> None:
    if logits.shape[1] > 1:
        _, score = MaxProbability().step(None, {"logits": logits})
        assert score == pytest.approx(softmax(logits.astype(np.float64)).max(), rel=1e-12)


def test_all_answers_at_once_are_decided_as_one_after_the_other(exported: Any) -> None:
    answers = load(exported, (None, None)).run_all(exported.sample)
    sure = MaxProbability().scores({"logits": np.stack(answers, axis=1)})[0]
    for thresholds in ((0.0, 0.0), (2.0, 0.0), (2.0, None), (sure[0], None), (np.nextafter(sure[0], 2), sure[1])):
        cascade = load(exported, thresholds)
        assert cascade.decide(answers) == cascade(exported.sample)[1]


def test_the_file_is_fit_for_bundles() -> None:
    """It runs on Python 3.8 with numpy alone."""
    tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= {"__future__", "collections", "math", "typing", "numpy"}
