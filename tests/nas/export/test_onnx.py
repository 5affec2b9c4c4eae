"""ONNX models against the same networks in plain numpy, whole and cut at their exits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from nas.deploy.onnx import IR_VERSION, OPSET, WRITERS, export_segments, to_onnx
from nas.errors import InputError
from search_spaces.ir import Builder, Network
from search_spaces.operators import OPERATORS
from tests.nas.export.small_networks import random_inputs, random_weights, reference, singles, three_exits

SINGLES = singles()


def run(data: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def answers(network: Network) -> list[str]:
    return [network.ops[index].name for index in network.exits]


def test_every_operator_has_a_writer_and_is_tested() -> None:
    assert set(WRITERS) == set(OPERATORS)
    assert {op.kind for network in SINGLES.values() for op in network.ops} == set(OPERATORS)


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("name", SINGLES)
def test_onnx_runtime_computes_what_numpy_computes(name: str, batch: int | None) -> None:
    network = SINGLES[name]
    weights = random_weights(network)
    inputs = random_inputs(network, batch or 2)
    outputs = run(to_onnx(network, weights, batch=batch), inputs)
    expected = reference(network, weights, inputs)
    assert list(outputs) == answers(network)
    for exit_name, output in outputs.items():
        np.testing.assert_allclose(output, expected[exit_name], rtol=1e-5, atol=2e-6)


def test_a_symbolic_batch_serves_any_batch() -> None:
    network = three_exits()
    weights = random_weights(network)
    data = to_onnx(network, weights, batch=None)
    for batch in (1, 4):
        inputs = random_inputs(network, batch)
        outputs, expected = run(data, inputs), reference(network, weights, inputs)
        for name in answers(network):
            np.testing.assert_allclose(outputs[name], expected[name], rtol=1e-5, atol=2e-6)


def test_the_model_is_plain() -> None:
    network = three_exits()
    model = onnx.load_from_string(to_onnx(network, random_weights(network)))
    kinds = [node.op_type for node in model.graph.node]
    assert "Transpose" not in kinds
    assert "Identity" not in kinds
    # The one batch norm whose convolution has another reader cannot be folded.
    assert kinds.count("BatchNormalization") == 1
    assert model.ir_version == IR_VERSION
    assert [entry.version for entry in model.opset_import] == [OPSET]
    assert [value.name for value in model.graph.input] == ["image"]


def test_only_the_transposes_of_the_network_are_written() -> None:
    model = onnx.load_from_string(to_onnx(SINGLES["transpose"], {}))
    assert [node.op_type for node in model.graph.node] == ["Transpose"]


def test_scalars_stay_scalars() -> None:
    model = onnx.load_from_string(to_onnx(SINGLES["relu6"], {}))
    assert [list(constant.dims) for constant in model.graph.initializer] == [[], []]


def test_gelu_is_one_kernel_in_onnx_runtime(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # it warns that such a file is for this machine
    data = to_onnx(SINGLES["gelu"], {})
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(tmp_path / "optimised.onnx")
    assert [node.op_type for node in optimised.graph.node] == ["Gelu"]


def test_equal_networks_give_equal_bytes_and_the_file_holds_them(tmp_path: Path) -> None:
    network = three_exits()
    weights = random_weights(network)
    first = to_onnx(network, weights, tmp_path / "new" / "model.onnx")
    assert first == to_onnx(Network.from_json(network.to_json()), dict(reversed(weights.items())))
    assert (tmp_path / "new" / "model.onnx").read_bytes() == first
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("extra", ["stem.conv", "stem.norm", "stem.hard_swish", "exit0.sum", "side.conv", "block1.sum"])
def test_an_extra_output_is_the_tensor_of_that_operator_before_folding(extra: str) -> None:
    network = three_exits()
    weights, inputs = random_weights(network), random_inputs(network)
    outputs = run(to_onnx(network, weights, extra_outputs=(extra,)), inputs)
    expected = reference(network, weights, inputs)
    assert set(outputs) == {*answers(network), extra}
    for name, output in outputs.items():
        np.testing.assert_allclose(output, expected[name], rtol=1e-5, atol=2e-6)


def test_an_exit_that_ends_in_batch_norm_keeps_its_name() -> None:
    b = Builder()
    x = b("conv", "conv", b.input("image", (3, 4, 4)), filters=5, kernel=1)
    network = b.network(b("batch_norm", "norm", x))
    weights, inputs = random_weights(network), random_inputs(network)
    outputs = run(to_onnx(network, weights), inputs)
    np.testing.assert_allclose(outputs["norm"], reference(network, weights, inputs)["norm"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("batch", [1, None])
def test_segments_in_a_row_are_the_network(tmp_path: Path, batch: int | None) -> None:
    network = three_exits()
    weights, inputs = random_weights(network), random_inputs(network, batch or 3)
    segments = export_segments(network, weights, tmp_path, batch)
    assert [segment.file for segment in segments] == ["exit_0.onnx", "exit_1.onnx", "exit_2.onnx"]
    assert [segment.exit for segment in segments] == answers(network)
    assert segments[0].takes == ("image",)
    assert len(segments[0].gives) == 2
    assert set(segments[1].takes) == set(segments[0].gives)
    tensors = dict(inputs)
    for segment in segments:
        outputs = run((tmp_path / segment.file).read_bytes(), {name: tensors[name] for name in segment.takes})
        assert tuple(outputs) == segment.outputs
        tensors |= outputs
    expected = reference(network, weights, inputs)
    for name in answers(network):
        np.testing.assert_allclose(tensors[name], expected[name], rtol=1e-5, atol=2e-6)


def test_batch_norm_behind_a_cut_belongs_to_the_segment_that_reads_it(tmp_path: Path) -> None:
    """Alone, the segment shows one reader of the convolution; merging the two there would change what is carried."""
    b = Builder()
    image = b.input("image", (3, 4, 4))
    x = b("conv", "conv", image, filters=4, kernel=3)
    first = b("batch_norm", "norm", x)
    network = b.network(first, b("relu", "relu", x))
    weights, inputs = random_weights(network), random_inputs(network)
    first_segment, second_segment = export_segments(network, weights, tmp_path)
    made = run((tmp_path / first_segment.file).read_bytes(), inputs)
    expected = reference(network, weights, inputs)
    np.testing.assert_allclose(made["conv"], expected["conv"], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(made["norm"], expected["norm"], rtol=1e-5, atol=2e-6)
    assert second_segment.takes == ("conv",)


def test_a_folded_tensor_that_is_carried_has_one_name_on_both_sides(tmp_path: Path) -> None:
    b = Builder()
    image = b.input("image", (3, 4, 4))
    first = b("batch_norm", "norm", b("conv", "conv", image, filters=4, kernel=3))
    network = b.network(first, b("add", "sum", b("relu", "relu", first), first))
    weights, inputs = random_weights(network), random_inputs(network)
    first_segment, second_segment = export_segments(network, weights, tmp_path)
    assert first_segment.outputs == ("norm",)
    assert second_segment.takes == ("norm",)
    made = run((tmp_path / first_segment.file).read_bytes(), inputs)
    last = run((tmp_path / second_segment.file).read_bytes(), made)
    np.testing.assert_allclose(last["sum"], reference(network, weights, inputs)["sum"], rtol=1e-5, atol=2e-6)


def test_mistakes_are_named() -> None:
    network = three_exits()
    weights = random_weights(network)
    with pytest.raises(InputError, match=r"stem\.conv/kernel"):
        to_onnx(network, {key: value for key, value in weights.items() if key != "stem.conv/kernel"})
    with pytest.raises(InputError, match=r"stem\.conv/kernel.*\(8, 3, 1, 1\).*\(8, 3, 3, 3\)"):
        to_onnx(network, weights | {"stem.conv/kernel": np.zeros((8, 3, 1, 1), np.float32)})
    with pytest.raises(InputError, match="no operator 'nothing'"):
        to_onnx(network, weights, extra_outputs=("nothing",))
    with pytest.raises(InputError, match="batch must be at least 1"):
        to_onnx(network, weights, batch=0)
