"""Export: what was exchanged is exported again, and what was not exported is not certified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nas.deploy import manifest
from nas.run.layout import RunFiles
from nas.run.verdict_files import load_verdicts
from tests.nas.small_runs import Command, hashes


def test_an_artefact_that_was_exchanged_is_exported_again(run: Path, nas: Command) -> None:
    model = run / "winners" / "worst" / "model.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1])
    assert nas("export", "run").code == 0
    assert model.read_bytes() == whole


def zeroed(path: Path) -> bytes:
    """An ONNX model that runs, takes as long, and knows nothing."""
    model = onnx.load(path)
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype == np.float32:
            weight.CopyFrom(numpy_helper.from_array(np.zeros_like(array), weight.name))
    return model.SerializeToString()


@pytest.mark.parametrize("change", ["exit_0.onnx", "model.onnx", "run.py", "weights.safetensors", "missing"])
def test_files_that_were_not_exported_are_not_certified(change: str, run: Path, nas: Command) -> None:
    """What lies in the folder is looked at before anything is measured, and no hash of it is taken again."""
    name = "exit_0.onnx" if change == "missing" else change
    path = run / "winners" / "mean" / name
    if change == "missing":
        path.unlink()
    elif name.endswith(".onnx"):
        path.write_bytes(zeroed(path))
    else:
        path.write_bytes(path.read_bytes() + b"\n")
    before = hashes(run)
    assert name in nas("verify", "run").error
    changed = {file for file, value in hashes(run).items() if before.get(file) != value}
    assert changed <= {"log.jsonl", ".lock"}


def test_accuracy_is_that_of_the_segments_that_ship(run: Path, nas: Command) -> None:
    """Segments that know nothing, with hashes as if they had been exported: the whole model beside them is right."""
    folder = run / "winners" / "worst"
    for path in folder.glob("exit_*.onnx"):
        path.write_bytes(zeroed(path))
    manifest.write(folder, manifest.load(folder), tuple(manifest.load(folder).artefacts))
    assert nas("verify", "run").code == 3
    winner = next(winner for winner in load_verdicts(RunFiles(run)).winners if winner.name == "worst")
    assert winner.kept is False and winner.reason.startswith("onnxruntime answers differently")
    assert {check.runtime: check.ok for check in winner.checks}["whole_model"] is True
    assert winner.test_accuracy is not None and winner.test_accuracy < 0.3
