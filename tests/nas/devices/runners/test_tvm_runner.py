"""TVM as a runner: libraries compiled and run here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_profiles import Target
from nas.deploy.artefact import Artefact
from nas.deploy.onnx import to_onnx
from nas.deploy.parity import compare_exits
from nas.deploy.tvm import to_tvm
from nas.devices.runners import runner_for
from nas.devices.runners.base import load_cascade
from nas.devices.runners.tvm_runner import Tvm
from nas.errors import InputError
from tests.nas.deploy.small_networks import one_exit, random_inputs, random_weights

TARGET = Target("host", "tvm")


def test_a_library_gives_all_exits_in_order(compiled: Any) -> None:
    runner = runner_for(TARGET)
    assert isinstance(runner, Tvm)
    assert runner.version.startswith("tvm ")
    outputs = runner.load(compiled.folder / "model.so")(compiled.sample)
    for output, expected in zip(outputs, compiled.logits, strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=2e-6)


def test_compiled_segments_are_the_same_network_as_onnx_runtime(compiled: Any, exported: Any) -> None:
    tvm = load_cascade(runner_for(TARGET), Artefact(compiled.folder, compiled.segments))
    onnx = load_cascade(runner_for(Target("host", "onnxruntime")), Artefact(exported.folder, exported.segments))
    outputs = {"onnxruntime": onnx.run_all(exported.sample), "tvm": tvm.run_all(exported.sample)}
    assert all(entry.same for entry in compare_exits(outputs)["tvm"])
    assert tvm(exported.sample)[1] == 2


def test_outputs_are_the_callers_own(compiled: Any) -> None:
    program = runner_for(TARGET).load(compiled.folder / "exit_0.so")
    before = program(compiled.sample)
    kept = [output.copy() for output in before]
    program(-compiled.sample)
    for output, copy in zip(before, kept, strict=True):
        np.testing.assert_array_equal(output, copy)


def test_a_file_that_was_replaced_is_loaded_anew(compiled: Any, tmp_path: Path) -> None:
    """The system's loader would give the old library for the old path as long as it is open."""
    path = tmp_path / "model.so"
    shutil.copyfile(compiled.folder / "model.so", path)
    old = runner_for(TARGET).load(path)
    network = one_exit(classes=3)
    to_tvm(to_onnx(network, random_weights(network)), {"kind": "llvm"}, path)
    new = runner_for(TARGET).load(path)
    assert [output.shape for output in new(random_inputs(network)["image"])] == [(1, 3)]
    assert len(old(compiled.sample)) == 3


def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    with pytest.raises(InputError, match=r"cannot load .*broken\.so"):
        runner_for(TARGET).load(broken)
    with pytest.raises(InputError, match=r"asks for TVM 0\.1"):
        runner_for(Target("host", "tvm", runtime_version="0.1"))
