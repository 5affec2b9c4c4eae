"""The emulated board runs ARM's code of numpy, ONNX Runtime and TVM, and the numbers are those of this machine."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import load
from nas.deploy.onnx import to_onnx
from nas.deploy.tvm import available, compiler, to_tvm
from tests.boards.arm import Emulated
from tests.nas.deploy.small_networks import random_inputs, random_weights, reference, three_exits

NETWORK = three_exits(size=32)
PROGRAM = Path(__file__).with_name("on_arm.py")
LINKER = compiler("aarch64-linux-gnu")
#: What runs networks there, each where it can be tried.
RUNNERS = [
    "onnxruntime",
    pytest.param(
        "tvm",
        marks=[
            pytest.mark.skipif(not available()[0], reason=available()[1]),
            pytest.mark.skipif(LINKER.command is None, reason=LINKER.reason),
        ],
    ),
]

pytestmark = pytest.mark.slow


def there(board: Emulated, *arguments: str, data: bytes = b"") -> bytes:
    done = subprocess.run([*board.line, *arguments], input=data, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_its_python_is_one_of_arm(emulated_arm: Emulated) -> None:
    code = "import platform, numpy as np; print(platform.machine(), int((np.eye(30) @ np.arange(30.0)).sum()))"
    assert there(emulated_arm, "-c", code) == b"aarch64 435\n"


def test_bytes_pass_as_they_are(emulated_arm: Emulated) -> None:
    data = bytes(range(256)) * 4096
    assert there(emulated_arm, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", data=data) == data


@pytest.mark.parametrize("runtime", RUNNERS)
def test_numbers_are_those_of_this_machine(emulated_arm: Emulated, tmp_path: Path, runtime: str) -> None:
    weights, inputs = random_weights(NETWORK), random_inputs(NETWORK)
    path = tmp_path / {"onnxruntime": "network.onnx", "tvm": "network.so"}[runtime]
    data = to_onnx(NETWORK, weights)
    if runtime == "tvm":
        to_tvm(data, {**(load("rpi4b").tvm_target or {}), "num-cores": 1}, path, LINKER)
    else:
        path.write_bytes(data)
    given = io.BytesIO()
    np.savez(given, allow_pickle=False, **inputs)
    answers = np.load(io.BytesIO(there(emulated_arm, str(PROGRAM), runtime, str(path), data=given.getvalue())))
    expected = reference(NETWORK, weights, inputs)
    assert len(answers.files) == len(NETWORK.exits) == 3
    for name, index in zip(answers.files, NETWORK.exits, strict=True):
        np.testing.assert_allclose(answers[name], expected[NETWORK.ops[index].name], rtol=1e-5, atol=2e-6)
