"""Every operator against a plain numpy definition in the IR's layout, then modes, segments and the flax module."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from nas.nn.interpreter import FORMS, apply, split
from nas.nn.module import NetworkModule
from nas.nn.weights import initialise
from search_spaces.ir import Builder, Network
from search_spaces.operators import OPERATORS, Shape
from search_spaces.slots import SearchSpace, random_genomes

Floats = NDArray[np.float32]
BATCH = 3


def random_weights(network: Network, seed: int = 0) -> dict[str, Floats]:
    """Weights of which none is at a neutral value."""
    weights = initialise(network.weight_shapes, seed)
    rng = np.random.default_rng(seed)
    for name, weight in network.weight_shapes.items():
        if weight.role in ("scale", "variance"):
            weights[name] = rng.uniform(0.5, 2, weight.shape).astype(np.float32)
        elif weight.role != "kernel":
            weights[name] = rng.normal(size=weight.shape).astype(np.float32)
    return weights


def windows(x: Floats, kernel: int, stride: int, padding: int, fill: float = 0.0) -> Floats:
    """[n, c, h, w, k, k]"""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    return view[:, :, ::stride, ::stride]


def convolve(x: Floats, w: dict[str, Floats], a: dict[str, Any]) -> Floats:
    padding = a["kernel"] // 2 if a["padding"] is None else a["padding"]
    parts = np.split(windows(x, a["kernel"], a["stride"], padding), a["groups"], axis=1)
    kernels = np.split(w["kernel"], a["groups"])
    y = np.concatenate([np.einsum("nihwkl,oikl->nohw", p, k) for p, k in zip(parts, kernels, strict=True)], axis=1)
    return y + w["bias"][:, None, None] if a["bias"] else y


def channelwise(v: Floats, x: Floats) -> Floats:
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


def normalise(x: Floats, w: dict[str, Floats], a: dict[str, Any]) -> Floats:
    scale, offset, mean, variance = (channelwise(w[p], x) for p in ("scale", "offset", "mean", "variance"))
    return (x - mean) / np.sqrt(variance + a["eps"]) * scale + offset


def layer_norm(x: Floats, w: dict[str, Floats], a: dict[str, Any]) -> Floats:
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + a["eps"])
    return y * w["scale"] + w["offset"]


def softmax(x: Floats, a: dict[str, Any]) -> Floats:
    axis = a["axis"] % (x.ndim - 1) + 1
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def hard_sigmoid(x: Floats) -> Floats:
    return np.clip(x / 6 + 0.5, 0, 1)


Reference = Callable[[list[Floats], dict[str, Floats], dict[str, Any]], Floats]

REFERENCES: dict[str, Reference] = {
    "input": lambda x, w, a: x[0],
    "conv": lambda x, w, a: convolve(x[0], w, a),
    "dense": lambda x, w, a: x[0] @ w["kernel"] + w["bias"],
    "matmul": lambda x, w, a: x[0] @ x[1],
    "batch_norm": lambda x, w, a: normalise(x[0], w, a),
    "layer_norm": lambda x, w, a: layer_norm(x[0], w, a),
    "relu": lambda x, w, a: np.maximum(x[0], 0),
    "relu6": lambda x, w, a: np.clip(x[0], 0, 6),
    "hard_sigmoid": lambda x, w, a: hard_sigmoid(x[0]),
    "hard_swish": lambda x, w, a: x[0] * hard_sigmoid(x[0]),
    "silu": lambda x, w, a: x[0] / (1 + np.exp(-x[0])),
    "gelu": lambda x, w, a: x[0] / 2 * (1 + np.vectorize(math.erf)(x[0] / math.sqrt(2))),
    "add": lambda x, w, a: x[0] + x[1],
    "mul": lambda x, w, a: x[0] * x[1],
    "concat": lambda x, w, a: np.concatenate(x, a["axis"] + 1),
    "avg_pool": lambda x, w, a: windows(x[0], a["kernel"], a["stride"], a["padding"]).mean((-1, -2)),
    "max_pool": lambda x, w, a: windows(x[0], a["kernel"], a["stride"], a["padding"], -np.inf).max((-1, -2)),
    "global_pool": lambda x, w, a: x[0].mean((2, 3), keepdims=True),
    "reshape": lambda x, w, a: x[0].reshape(len(x[0]), *a["shape"]),
    "transpose": lambda x, w, a: x[0].transpose(0, *(axis + 1 for axis in a["perm"])),
    "softmax": lambda x, w, a: softmax(x[0], a),
}

IMAGE: Shape = (4, 6, 5)
CASES: list[tuple[str, list[Shape], dict[str, Any]]] = [
    ("input", [IMAGE], {}),
    ("conv", [IMAGE], {"filters": 8, "kernel": 3, "stride": 2, "bias": True}),
    ("conv", [IMAGE], {"filters": 8, "kernel": 1, "padding": 0}),
    ("conv", [IMAGE], {"filters": 8, "kernel": 1, "padding": 0, "stride": 2, "bias": True}),
    ("conv", [IMAGE], {"filters": 4, "kernel": 5, "groups": 4, "stride": 2}),
    ("conv", [IMAGE], {"filters": 8, "kernel": 3, "groups": 4}),
    ("conv", [IMAGE], {"filters": 6, "kernel": 3, "groups": 2, "padding": 0}),
    ("conv", [(40, 3, 3)], {"filters": 20, "kernel": 3, "groups": 20}),
    ("dense", [(7,)], {"units": 3}),
    ("dense", [(5, 7)], {"units": 3}),
    ("dense", [IMAGE], {"units": 3}),
    ("matmul", [(5, 7), (7, 2)], {}),
    ("matmul", [(2, 5, 7), (2, 7, 3)], {}),
    *[("batch_norm", [shape], {"eps": 1e-3}) for shape in (IMAGE, (7,), (5, 7))],
    *[("layer_norm", [shape], {}) for shape in (IMAGE, (7,), (5, 7))],
    *[(kind, [IMAGE], {}) for kind in ("relu", "relu6", "hard_sigmoid", "hard_swish", "silu", "gelu")],
    *[(kind, shapes, {}) for kind in ("add", "mul") for shapes in ([IMAGE, IMAGE], [IMAGE, (4, 1, 1)], [(7,), (1,)])],
    *[("concat", [IMAGE, IMAGE], {"axis": axis}) for axis in (0, 1, 2)],
    ("concat", [(5, 7), (5, 2)], {"axis": 1}),
    *[(kind, [IMAGE], {"kernel": 3, "stride": 2, "padding": 1}) for kind in ("avg_pool", "max_pool")],
    *[(kind, [IMAGE], {"kernel": 2, "stride": 1}) for kind in ("avg_pool", "max_pool")],
    ("global_pool", [IMAGE], {}),
    *[("reshape", [IMAGE], {"shape": shape}) for shape in ((120,), (20, 6), (6, 4, 5))],
    ("reshape", [(20, 6)], {"shape": IMAGE}),
    *[("transpose", [IMAGE], {"perm": perm}) for perm in ((2, 0, 1), (0, 2, 1))],
    ("transpose", [(5, 7)], {"perm": (1, 0)}),
    *[("softmax", [IMAGE], {"axis": axis}) for axis in (0, 1, -1)],
]  # fmt: skip


def test_every_operator_has_a_form_and_a_reference() -> None:
    assert FORMS.keys() == OPERATORS.keys() == REFERENCES.keys() == {kind for kind, _, _ in CASES}


@pytest.mark.parametrize(("kind", "shapes", "attrs"), CASES)
def test_operator(kind: str, shapes: list[Shape], attrs: dict[str, Any]) -> None:
    b = Builder()
    refs = [b.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    network = b.network(refs[0] if kind == "input" else b(kind, "op", *refs, **attrs))
    rng = np.random.default_rng(1)
    inputs = [(3 * rng.normal(size=(BATCH, *shape))).astype(np.float32) for shape in shapes]
    weights = random_weights(network)
    params, stats = split(network, weights)
    (y,) = apply(network, params, stats, {f"x{i}": jnp.asarray(x) for i, x in enumerate(inputs)}).outputs
    op = network.ops[-1]
    own = {name.rpartition("/")[2]: value for name, value in weights.items()}
    expected = REFERENCES[kind](inputs, own, op.attributes)
    assert y.shape == (BATCH, *op.shape) == expected.shape
    assert np.allclose(y, expected, rtol=1e-4, atol=1e-5)


def two_exits() -> Network:
    """The second exit reads the stem and the block that the first one reads."""
    b = Builder()
    stem = b("conv", "stem", b.input("image", (2, 6, 6)), filters=4, kernel=3)
    block = b("relu", "relu", b("batch_norm", "bn", stem))
    exits = []
    for name, x in (("early", block), ("late", b("add", "sum", b("conv", "deep", block, filters=4, kernel=3), stem))):
        pooled = b("reshape", f"{name}.flat", b("global_pool", f"{name}.pool", x), shape=(4,))
        exits.append(b("dense", name, pooled, units=3))
    return b.network(*exits)


def image(network: Network, n: int = BATCH) -> jax.Array:
    return jnp.asarray(np.random.default_rng(2).normal(size=(n, *network.inputs[0].shape)), jnp.float32)


def test_train_normalises_by_the_batch_and_calibrate_returns_what_makes_eval_equal() -> None:
    network = two_exits()
    params, stats = split(network, random_weights(network))
    x = {"image": image(network)}
    train = apply(network, params, {}, x, "train")
    calibrated = apply(network, params, {}, x, "calibrate")
    assert train.stats == {} and calibrated.stats.keys() == stats.keys()
    again = apply(network, params, calibrated.stats, x, "eval")
    different = apply(network, params, stats, x, "eval")
    for a, b, c, d in zip(train.outputs, calibrated.outputs, again.outputs, different.outputs, strict=True):
        assert np.allclose(a, b, atol=1e-5) and np.allclose(a, c, atol=1e-5) and not np.allclose(a, d, atol=1e-2)


def test_segments_chain_to_the_whole() -> None:
    network = two_exits()
    params, stats = split(network, random_weights(network))
    known = {"image": image(network)}
    whole = apply(network, params, stats, known).outputs
    for segment, expected in zip(network.segments(), whole, strict=True):
        result = apply(
            segment.network, params, stats, {name: known[name] for name in segment.takes}, carry=segment.gives
        )
        known.update(result.carried)
        assert np.allclose(result.outputs[0], expected, atol=1e-6)


def test_missing_weight_and_input_are_named() -> None:
    network = two_exits()
    params, stats = split(network, random_weights(network))
    with pytest.raises(KeyError, match="image"):
        apply(network, params, stats, {})
    with pytest.raises(KeyError, match="late/bias"):
        apply(network, {k: v for k, v in params.items() if k != "late/bias"}, stats, {"image": image(network)})


def test_module_is_the_same_network(tiny: SearchSpace) -> None:
    network = tiny.decode(random_genomes(tiny, 1, np.random.default_rng(0))[0])
    weights = random_weights(network)
    module = NetworkModule(network, weights)
    params, stats = split(network, weights)
    x = image(network)
    expected = jax.jit(lambda p, s, x: apply(network, p, s, {"image": x}).outputs)(params, stats, x)
    for a, b in zip(jax.jit(lambda m, x: m(x))(module, x), expected, strict=True):
        assert np.array_equal(a, b)
    module(x, "calibrate")
    found = apply(network, params, {}, {"image": x}, "calibrate").stats
    kept = module.weights()
    assert kept.keys() == weights.keys()
    assert all(np.array_equal(kept[name], value) for name, value in found.items())
