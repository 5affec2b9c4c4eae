"""ONNX Runtime as a runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from hardware_profiles import Target
from nas.deploy.onnx import to_onnx
from nas.devices.runners import runner_for
from nas.devices.runners.onnxruntime_runner import OnnxRuntime
from nas.errors import InputError
from tests.nas.deploy.small_networks import one_exit, random_weights


@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_gives_all_exits_in_order(exported: Any, threads: int) -> None:
    runner = runner_for(Target("host", "onnxruntime", threads=threads))
    assert isinstance(runner, OnnxRuntime)
    assert runner.version == f"onnxruntime {onnxruntime.__version__}"
    outputs = runner.load(exported.folder / "model.onnx")(exported.sample)
    for output, expected in zip(outputs, exported.logits, strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=2e-6)


def test_threads_are_set_and_one_thread_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    class Session:
        def __init__(self, data: bytes, options: Any, providers: list[str]) -> None:
            seen["options"], seen["providers"] = options, providers

        def run(self) -> None: ...

        def get_providers(self) -> list[str]:
            return ["CPUExecutionProvider"]

        def get_inputs(self) -> list[Any]:
            return []

        get_outputs = get_inputs

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    OnnxRuntime(Target("host", "onnxruntime", threads=1)).load_bytes(b"")
    options = seen["options"]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert seen["providers"] == ["CPUExecutionProvider"]
    OnnxRuntime(Target("host", "onnxruntime", threads=3)).load_bytes(b"")
    assert seen["options"].intra_op_num_threads == 3


def test_outputs_are_the_callers_own() -> None:
    network = one_exit()
    data = to_onnx(network, random_weights(network))
    program = OnnxRuntime(Target("host", "onnxruntime")).load_bytes(data)
    first, second = np.random.default_rng(0).standard_normal((2, 1, 3, 8, 8), np.float32)
    (before,) = program(first)
    kept = before.copy()
    program(second)
    np.testing.assert_array_equal(before, kept)


def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(InputError, match=r"refuses .*broken\.onnx"):
        runner_for(Target("host", "onnxruntime")).load(broken)
    with pytest.raises(InputError, match=r"asks for ONNX Runtime 0\.1"):
        runner_for(Target("host", "onnxruntime", runtime_version="0.1"))
