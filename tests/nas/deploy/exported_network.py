"""Exported networks for the runners: small ones, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from nas.deploy.onnx import export_segments, to_onnx
from nas.deploy.segment import SegmentFile
from nas.deploy.tvm import available, compiler, segments_to_tvm, to_tvm
from tests.nas.deploy.small_networks import Array, random_inputs, random_weights, reference, three_exits


@dataclass(frozen=True)
class Exported:
    """A network with three exits on disk, a sample [1, ...], and its logits exit by exit."""

    folder: Path
    segments: tuple[SegmentFile, ...]
    sample: Array
    logits: list[Array]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    network = three_exits()
    weights, inputs = random_weights(network), random_inputs(network)
    folder = tmp_path_factory.mktemp("onnx")
    to_onnx(network, weights, folder / "model.onnx")
    expected = reference(network, weights, inputs)
    return Exported(
        folder,
        export_segments(network, weights, folder),
        inputs["image"],
        [expected[network.ops[index].name] for index in network.exits],
    )


@pytest.fixture(scope="session")
def compiled(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same, compiled by TVM for this machine; skips without TVM or a compiler."""
    importable, reason = available()
    if not importable:
        pytest.skip(reason)
    if compiler().command is None:
        pytest.skip(compiler().reason)
    folder = tmp_path_factory.mktemp("tvm")
    target = {"kind": "llvm", "num-cores": 1}
    to_tvm((exported.folder / "model.onnx").read_bytes(), target, folder / "model.so")
    segments = segments_to_tvm(exported.segments, exported.folder, target, folder)
    return Exported(folder, segments, exported.sample, exported.logits)
