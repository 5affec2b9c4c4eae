"""Every kernel computes what ONNX Runtime computes: random sizes, odd channels, borders, what follows it, fallbacks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hardware_profiles.host import tvm_target
from nas.deploy.onnx import IR_VERSION, OPSET, to_onnx
from nas.deploy.schedules.pipeline import scheduled
from nas.deploy.tvm import available
from search_spaces.mobile import mobile
from search_spaces.slots import random_genomes
from tests.nas.deploy.small_networks import random_inputs, random_weights, three_exits

pytestmark = pytest.mark.skipif(not available()[0], reason=available()[1])

Array = NDArray[np.float32]
#: The vectors of this machine; the smallest that its kind of processor has; kernels shared out among threads.
TARGETS = {
    "here": {**tvm_target(), "num-cores": 1},
    "narrow": {"kind": "llvm", "num-cores": 1},
    "threads": {**tvm_target(), "num-cores": 2},
}


@dataclass
class Graph:
    """An ONNX model in the making, with random inputs and weights."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: dict[str, Array] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def input(self, *shape: int) -> str:
        name = f"input{len(self.inputs)}"
        self.inputs[name] = self.array(*shape)
        return name

    def array(self, *shape: int) -> Array:
        return self.rng.normal(0, 1, shape).astype(np.float32)

    def constant(self, value: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, x: str, outputs: int, inputs: int, kernel: tuple[int, int] = (1, 1), **attributes: Any) -> str:
        weight = self.constant(self.array(outputs, inputs // attributes.get("group", 1), *kernel) / 4)
        return self.node("Conv", x, weight, self.constant(self.array(outputs)), **attributes)

    def model(self) -> onnx.ModelProto:
        def info(name: str, shape: Any = None) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            self.nodes,
            "graph",
            [info(name, value.shape) for name, value in self.inputs.items()],
            [info(name) for name in self.outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return onnx.shape_inference.infer_shapes(model)


def kernels(model: onnx.ModelProto, target: dict[str, Any]) -> Any:
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(model, keep_params_in_input=False, sanitize_input_names=False)
    return scheduled(module, tvm.target.Target(target))


def compiled(model: onnx.ModelProto, target: dict[str, Any]) -> Any:
    import tvm
    from tvm import relax

    pipeline = relax.get_pipeline("default_build")
    return tvm.compile(kernels(model, target), target=tvm.target.Target(target), relax_pipeline=pipeline)


def in_tvm(model: onnx.ModelProto, target: dict[str, Any], inputs: dict[str, Array]) -> list[Array]:
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(compiled(model, target), tvm.cpu())
    results = machine["main"](*map(tvm.runtime.tensor, inputs.values()))
    return [results.numpy()] if hasattr(results, "numpy") else [result.numpy() for result in results]


def check(model: onnx.ModelProto, target: dict[str, Any], inputs: dict[str, Array]) -> None:
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    # TVM completes what it reads.
    results = in_tvm(onnx.load_from_string(data), target, inputs)
    for name, result, expected in zip(names, results, session.run(None, inputs), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4, err_msg=name)


def _none(g: Graph, x: str, channels: int) -> str:
    return x


def _relu6(g: Graph, x: str, channels: int) -> str:
    return g.node("Clip", x, g.constant(np.float32(0)), g.constant(np.float32(6)))


def _gated(g: Graph, x: str, channels: int) -> str:
    """Squeeze and excitation."""
    squeezed = g.node("Relu", g.conv(g.node("GlobalAveragePool", x), 3, channels))
    return g.node("Mul", x, g.node("HardSigmoid", g.conv(squeezed, channels, 3), alpha=1 / 6, beta=0.5))


def _residual(g: Graph, x: str, channels: int) -> str:
    return g.node("Add", g.node("HardSwish", x), x)


def _silu(g: Graph, x: str, channels: int) -> str:
    return g.node("Mul", x, g.node("Sigmoid", x))


def _scaled(g: Graph, x: str, channels: int) -> str:
    return g.node("Sub", g.node("Mul", x, g.constant(g.array(channels, 1, 1))), g.constant(g.array(1, channels, 1, 1)))


FOLLOWING: list[Callable[[Graph, str, int], str]] = [_none, _relu6, _gated, _residual, _silu, _scaled]


def random_convolutions(seed: int) -> Graph:
    """Convolutions of every kind, each with something before it, so that it reads channels last, and after it."""
    rng = np.random.default_rng(seed)
    g = Graph(rng)
    for number in range(6):
        channels, outputs = (int(rng.choice([3, 5, 10, 17, 40])) for _ in range(2))
        depthwise = number % 3 == 0
        kernel = (1, 1) if number % 3 == 1 else (int(rng.choice([1, 3, 5])), int(rng.choice([3, 5])))
        height, width = (int(rng.choice([1, 5, 7, 11, 13, 19, 37])) for _ in range(2))
        dilation = int(rng.choice([1, 1, 2]))
        pads = [int(rng.integers(0, dilation * (size - 1) + 1)) for size in (*kernel, *kernel)]
        reach = [dilation * (size - 1) + 1 for size in kernel]
        height, width = max(height, reach[0]), max(width, reach[1])
        x = g.input(int(rng.choice([1, 1, 3])), channels, height, width)
        if number > 1:
            x = g.node("Relu", g.conv(x, channels, channels))
        outputs = channels if depthwise else outputs
        attributes = {
            "pads": pads,
            "strides": [int(rng.choice([1, 2])), int(rng.choice([1, 1, 2, 3]))],
            "dilations": [dilation] * 2,
        }
        if depthwise:
            attributes["group"] = channels
        x = g.conv(x, outputs, channels, kernel, **attributes)
        g.outputs.append(FOLLOWING[int(rng.integers(len(FOLLOWING)))](g, x, outputs))
    return g


@pytest.mark.parametrize(("seed", "target"), [*enumerate(TARGETS)])
def test_convolutions(seed: int, target: str) -> None:
    g = random_convolutions(seed)
    check(g.model(), TARGETS[target], g.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(10, 20))
def test_more_convolutions(seed: int, target: str) -> None:
    g = random_convolutions(seed)
    check(g.model(), TARGETS[target], g.inputs)


def test_dense_layers() -> None:
    g = Graph(np.random.default_rng(3))
    for lead, inputs, outputs in [((1,), 37, 10), ((5,), 17, 1000), ((2, 3), 40, 3), ((2, 1, 29), 5, 17), ((1,), 1, 1)]:
        product = g.node("MatMul", g.input(*lead, inputs), g.constant(g.array(inputs, outputs) / 4))
        g.outputs.append(g.node("Relu", g.node("Add", product, g.constant(g.array(outputs)))))
    flat = g.node("Flatten", g.node("GlobalAveragePool", g.conv(g.input(2, 3, 9, 7), 17, 3, (3, 3), pads=[1] * 4)))
    g.outputs.append(g.node("Gemm", flat, g.constant(g.array(10, 17)), g.constant(g.array(10)), transB=1))
    check(g.model(), TARGETS["here"], g.inputs)


def test_pooling_and_joining() -> None:
    g = Graph(np.random.default_rng(4))
    image = g.conv(g.input(2, 3, 13, 11), 20, 3)
    pools = [
        g.node("MaxPool", image, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        g.node("AveragePool", image, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 0, 1], count_include_pad=1),
        g.node("AveragePool", image, kernel_shape=[3, 2], strides=[1, 2], pads=[1, 1, 1, 0]),
        g.node("MaxPool", image, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        g.node("ReduceMean", image, axes=[2, 3], keepdims=0),
        g.node("ReduceMax", image, axes=[2, 3], keepdims=1),
        g.node("ReduceMean", image, axes=[1], keepdims=1),
    ]
    joined = g.node("Concat", image, g.conv(image, 5, 20), image, axis=1)
    g.outputs += [*pools, joined, g.conv(joined, 6, 45)]
    check(g.model(), TARGETS["here"], g.inputs)


def test_what_has_no_rule_is_computed_as_tvm_defines_it() -> None:
    g = Graph(np.random.default_rng(5))
    image = g.node("Relu", g.conv(g.input(1, 6, 8, 10), 12, 6, (3, 3), pads=[1] * 4))
    weight = g.constant(g.array(12, 4, 2, 2))
    g.outputs += [
        g.conv(image, 8, 12, (3, 3), group=4, pads=[1] * 4),
        g.conv(image, 24, 12, (3, 3), group=12),
        g.conv(g.node("Softmax", image, axis=1), 4, 12),
        g.node("ConvTranspose", image, weight, strides=[2, 2]),
        g.node("DepthToSpace", image, blocksize=2),
        g.node("Transpose", g.node("Reshape", image, g.constant(np.array([1, 12, 80]))), perm=[0, 2, 1]),
        g.node("LayerNormalization", image, g.constant(g.array(10)), axis=-1),
        g.conv(g.node("Pad", image, g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))), 4, 12, (3, 3)),
        g.node("Slice", image, *(g.constant(np.array([n])) for n in (1, 9, 1, 2))),
        g.node("Mul", image, g.constant(g.array(10))),
        g.node("Where", g.node("Greater", image, g.constant(np.float32(0.3))), image, g.node("Neg", image)),
        g.node("Max", image, g.node("Transpose", g.input(1, 12, 10, 8), perm=[0, 1, 3, 2])),
        g.node("Min", image, g.constant(g.array(12, 1, 1)), g.constant(np.float32(0.5))),
        g.node("MatMul", image, g.input(1, 12, 10, 3)),
        g.node("Conv", image, g.input(5, 12, 1, 1)),
    ]
    check(g.model(), TARGETS["here"], g.inputs)


def test_a_long_chain_of_gates_does_not_grow_without_end() -> None:
    """Each reads what is before it twice: inlined into each other they would be a thousand copies of the first."""
    g = Graph(np.random.default_rng(6))
    x = g.conv(g.input(1, 4, 5, 5), 4, 4)
    for _ in range(10):
        x = _silu(g, x, 4)
    g.outputs.append(x)
    check(g.model(), TARGETS["here"], g.inputs)


def test_a_network_of_convolutions_is_made_by_rules_alone() -> None:
    """What TVM makes has blocks with axes."""
    network = three_exits()
    model = onnx.load_from_string(to_onnx(network, random_weights(network)))
    assert "T.axis." not in kernels(model, TARGETS["here"]).script(show_meta=False)
    g = Graph(np.random.default_rng(7))
    g.outputs.append(g.node("Softmax", g.input(3, 4)))
    assert "T.axis." in kernels(g.model(), TARGETS["here"]).script(show_meta=False)


@pytest.mark.parametrize(
    ("triple", "processor", "instruction"),
    [
        ("x86_64-linux-gnu", "x86-64-v3", r"vfmadd\w+ps\s.*%ymm"),
        ("x86_64-linux-gnu", "x86-64-v4", r"vfmadd\w+ps\s.*%zmm"),
        ("aarch64-linux-gnu", "cortex-a72", r"fmla\s+v\d+\.4s"),
    ],
)
def test_code_for_another_processor_uses_its_vectors(triple: str, processor: str, instruction: str) -> None:
    g = Graph(np.random.default_rng(8))
    g.outputs.append(g.node("Relu", g.conv(g.input(1, 8, 7, 7), 32, 8)))
    built = compiled(g.model(), {"kind": "llvm", "mtriple": triple, "mcpu": processor})
    code = [module.inspect_source("asm") for module in (built.mod, *built.mod.imports) if module.kind == "llvm"]
    assert len(re.findall(instruction, "".join(code))) >= 8


def test_all_exits_of_a_batch() -> None:
    network = three_exits()
    data = to_onnx(network, random_weights(network, gain=0.5), batch=2)
    check(onnx.load_from_string(data), TARGETS["here"], random_inputs(network, 2))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(3))
def test_networks_of_the_product(seed: int, target: str) -> None:
    space = mobile((3, 32, 32), 10)
    network = space.decode(tuple(random_genomes(space, 1, np.random.default_rng(seed))[0]))
    data = to_onnx(network, random_weights(network, gain=0.5))
    check(onnx.load_from_string(data), TARGETS[target], random_inputs(network))
