"""Kernels for Arm's vectors compute what ONNX Runtime computes here: random convolutions, on the emulated processor."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from hardware_profiles import load
from nas.deploy.tvm import available, compiler, to_tvm
from tests.boards.arm import Emulated
from tests.nas.deploy.schedules.test_kernels import random_convolutions

LINKER = compiler("aarch64-linux-gnu")
PROGRAM = Path(__file__).with_name("on_arm.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available()[0], reason=available()[1]),
    pytest.mark.skipif(LINKER.command is None, reason=LINKER.reason),
]


@pytest.mark.parametrize("seed", range(2))
def test_convolutions_on_arm(seed: int, emulated_arm: Emulated, tmp_path: Path) -> None:
    graph = random_convolutions(seed)
    data = graph.model().SerializeToString()
    path = tmp_path / "network.so"
    to_tvm(data, {**(load("rpi4b").tvm_target or {}), "num-cores": 1}, path, LINKER)
    given = io.BytesIO()
    np.savez(given, allow_pickle=False, **graph.inputs)
    line = [*emulated_arm.line, str(PROGRAM), "tvm", str(path)]
    done = subprocess.run(line, input=given.getvalue(), capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    expected = session.run(None, graph.inputs)
    answers = np.load(io.BytesIO(done.stdout))
    for name, output in zip(answers.files, expected, strict=True):
        np.testing.assert_allclose(answers[name], output, rtol=1e-4, atol=1e-4, err_msg=name)
