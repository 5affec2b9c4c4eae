"""Shared weights by name: their shapes in a supernet, initial values, a network's part of them, and bytes on disk."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.seeds import derive_seed
from search_spaces.ir import Network
from search_spaces.operators import Shape, Weight
from search_spaces.slots import SearchSpace

Weights = dict[str, NDArray[np.float32]]

#: Key of the one entry of a file's metadata: a JSON object, whose order of keys does not change from run to run.
_METADATA: Final = "hwnas"
#: Key in that object of the hash of all the rest; files of older releases have none.
_SHA256: Final = "sha256"


def supernet_shapes(space: SearchSpace) -> dict[str, Weight]:
    """Every weight of a space by name, with the elementwise largest of its shapes over all combinations of its slot."""
    largest: dict[str, Weight] = {}
    for network in slot_networks(space):
        for name, weight in network.weight_shapes.items():
            shape = tuple(map(max, largest[name].shape, weight.shape)) if name in largest else weight.shape
            largest[name] = Weight(shape, weight.role)
    return largest


def slot_networks(space: SearchSpace) -> Iterator[Network]:
    """The networks of all combinations of all slots, those in which the slot is absent excepted."""
    for slot in space.slots:
        for values in slot.combinations():
            network = slot.network(values)
            if network is not None:
                yield network


def residual_norms(networks: Iterable[Network]) -> frozenset[str]:
    """Names of the batch norms that, in every one of `networks` that has them, are the first operand of an addition."""
    seen: dict[str, bool] = {}
    for network in networks:
        added = {op.inputs[0][0] for op in network.ops if op.kind == "add"}
        for index, op in enumerate(network.ops):
            if op.kind == "batch_norm":
                seen[op.name] = seen.get(op.name, True) and index in added
    return frozenset(name for name, always in seen.items() if always)


def initialise(shapes: Mapping[str, Weight], seed: int, zero_scale: frozenset[str] = frozenset()) -> Weights:
    """Initial values, drawn for each weight from (seed, its name): neither order nor other weights matter.

    Convolutions after He et al. 2015 (arXiv 1502.01852) by fan-out, dense layers normal with variance 1 / inputs. Batch
    norms named in `zero_scale` start at scale 0, so that residual blocks start as the identity (arXiv 2003.11142).
    """
    return {
        name: np.zeros(weight.shape, np.float32)
        if weight.role == "scale" and name.rpartition("/")[0] in zero_scale
        else _initial(weight, derive_seed(seed, "initialise", name))
        for name, weight in shapes.items()
    }


def _initial(weight: Weight, seed: int) -> NDArray[np.float32]:
    if weight.role in ("scale", "variance"):
        return np.ones(weight.shape, np.float32)
    if weight.role != "kernel":
        return np.zeros(weight.shape, np.float32)
    # A depthwise kernel [channels, 1, k, k] gives each of its inputs to one output, so its fan-out is k * k.
    if len(weight.shape) == 4:
        filters, inputs, height, width = weight.shape
        std = math.sqrt(2 / ((filters if inputs > 1 else 1) * height * width))
    else:
        std = math.sqrt(1 / weight.shape[0])
    return (np.random.default_rng(seed).standard_normal(weight.shape) * std).astype(np.float32)


def cut(weight: Any, shape: Shape) -> Any:
    """The part of a shared weight that a smaller shape uses: the first channels, the centre of the kernel."""
    spatial = 2 if len(shape) == 4 else len(shape)
    starts = [(have - want) // 2 if axis >= spatial else 0 for axis, (have, want) in _axes(weight.shape, shape)]
    return weight[tuple(slice(start, start + want) for start, want in zip(starts, shape, strict=True))]


def _axes(have: Shape, want: Shape) -> list[tuple[int, tuple[int, int]]]:
    return list(enumerate(zip(have, want, strict=True)))


def extract(network: Network, weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of one network of a space, cut out of the shared ones; numpy arrays stay numpy, JAX arrays JAX.

    Raises KeyError for a weight that the shared ones lack.
    """
    return {name: cut(weights[name], weight.shape) for name, weight in network.weight_shapes.items()}


def to_bytes(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any] | None = None) -> bytes:
    """A safetensors file of named arrays, JSON-able metadata, and the hash of both; equal contents give equal bytes."""
    from safetensors.numpy import save

    contiguous = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    about = dict(metadata or {})
    about[_SHA256] = _sha256(contiguous, about)
    data: bytes = save(contiguous, {_METADATA: json.dumps(about, sort_keys=True)})
    return data


def from_bytes(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and metadata of a file that `to_bytes` made; raises ValueError for one of which a bit is another."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    length = int.from_bytes(data[:8], "little")
    try:
        arrays: dict[str, NDArray[Any]] = load(data)
        header = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        about: dict[str, Any] = json.loads(header.get(_METADATA, "{}"))
        written = about.pop(_SHA256, None)
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"the weights are damaged: {error}") from error
    if written is not None and written != _sha256(arrays, about):
        raise ValueError("the weights are damaged: they have another SHA-256 than what was written")
    return arrays, about


def _sha256(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
