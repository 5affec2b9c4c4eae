"""Which kernels are the same one, and a table of their measured seconds.

Two kernels are the same if they have the same operators, attributes and shapes. Those that differ in channels alone
make a family, within which a missing entry is interpolated. Isolated kernels summed over a network are the layer-wise
look-up table of ProxylessNAS (Cai et al. 2019, arXiv 1812.00332) and HSCoNAS (arXiv 2103.08325).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from latency_models.arrays import read_arrays, understood
from latency_models.base import Floats
from search_spaces.ir import Builder, Network
from search_spaces.op import Op
from search_spaces.operators import Shape
from search_spaces.passes import Kernel, fuse
from search_spaces.slots import SearchSpace

#: A missing entry is priced if channels in times channels out lie within this factor of its family's range.
NEAR: Final = 2.0
_CHANNEL_ATTRIBUTES: Final = frozenset({"filters", "groups", "units"})


@dataclass(frozen=True, slots=True, order=True)
class Signature:
    """A kernel up to its name: `family` holds all but the channels in and out."""

    family: str
    channels_in: int
    channels_out: int

    @property
    def text(self) -> str:
        """One line that `of_text` reads."""
        return f"{self.family} | {self.channels_in} | {self.channels_out}"

    @staticmethod
    def of_text(text: str) -> Signature:
        """Read what `text` says; raises ValueError."""
        family, channels_in, channels_out = text.rsplit(" | ", 2)
        return Signature(family, int(channels_in), int(channels_out))


def signature(network: Network, kernel: Kernel) -> Signature:
    """The signature of one kernel of a network."""
    ops = [network.by_name[name] for name in kernel.ops]
    read = _outside(network, ops)
    channels_in, channels_out = _channels(read[0].shape), _channels(ops[-1].shape)
    operators = "+".join(_operator(network, op) for op in ops)
    first, *others = (_shape(op.shape, channels_in if i == 0 else -1, channels_out) for i, op in enumerate(read))
    return Signature(f"{operators} on {', '.join([first, *others])}", channels_in, channels_out)


def alone(network: Network, kernel: Kernel) -> Network:
    """One kernel of a network as a network of its own, which reads what the kernel reads."""
    ops = [network.by_name[name] for name in kernel.ops]
    builder = Builder()
    place = {op.name: builder.input(op.name, op.shape, op.dtype) for op in _outside(network, ops)}
    for op in ops:
        place[op.name] = builder.copy(op, *(place[network.ops[source].name] for source, _ in op.inputs))
    return builder.network(place[ops[-1].name])


def distinct(networks: Iterable[Network], fusions: Iterable[str]) -> dict[Signature, Network]:
    """Every different kernel of the networks, alone, in order of first occurrence."""
    found: dict[Signature, Network] = {}
    for network in networks:
        for kernel in fuse(network, frozenset(fusions)):
            key = signature(network, kernel)
            if key not in found:
                found[key] = alone(network, kernel)
    return found


def distinct_of_space(space: SearchSpace, fusions: Iterable[str]) -> dict[Signature, Network]:
    """Every different kernel of a space: fusion never crosses a slot, so the slots' combinations have them all."""
    networks = (slot.network(values) for slot in space.slots for values in slot.combinations())
    return distinct((network for network in networks if network is not None), fusions)


@dataclass(frozen=True, eq=False)
class KernelTable:
    """Seconds of kernels measured alone, the call to the runtime taken off."""

    seconds: Mapping[Signature, float]

    @staticmethod
    def build(
        wanted: Mapping[Signature, Network], measure: Callable[[Sequence[Network]], Sequence[float] | Floats]
    ) -> KernelTable:
        """Measure each kernel once; raises ValueError for seconds that are not positive, naming the kernel."""
        found = measure(list(wanted.values()))
        if len(found) != len(wanted):
            raise ValueError(f"{len(wanted)} kernels were to be measured, but there are {len(found)} readings")
        for key, value in zip(wanted, found, strict=True):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"kernel {key.text!r} was measured at {value} s; measure it again, for longer")
        return KernelTable(dict(zip(wanted, map(float, found), strict=True)))

    def price(self, key: Signature) -> float | None:
        """Seconds of a kernel; interpolated within its family where it is missing, None where nothing is near.

        With the same channels in, between two entries: linear in the channels out. Else log-linear in their product,
        and in proportion to it up to a factor NEAR beyond the family's range.
        """
        known = self.seconds.get(key)
        if known is not None:
            return known
        family = self._families.get(key.family)
        if family is None:
            return None
        channels, seconds = family
        same = channels[:, 0] == key.channels_in
        outs = channels[same, 1]
        if same.any() and outs.min() <= key.channels_out <= outs.max():
            order = np.argsort(outs)
            return float(np.interp(key.channels_out, outs[order], seconds[same][order]))
        products, group = np.unique(channels.prod(axis=1), return_inverse=True)
        logs = np.bincount(group, np.log(seconds)) / np.bincount(group)
        product = float(key.channels_in * key.channels_out)
        if not products[0] / NEAR <= product <= products[-1] * NEAR:
            return None
        inside = float(np.clip(product, products[0], products[-1]))
        return float(np.exp(np.interp(np.log(inside), np.log(products), logs)) * product / inside)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The table as two arrays for a file without pickles."""
        return {
            "kernels": np.array([key.text for key in self.seconds], np.str_),
            "kernel_s": np.array(list(self.seconds.values()), np.float64),
        }

    @staticmethod
    def of_arrays(arrays: Mapping[str, NDArray[Any]]) -> KernelTable | None:
        """The table that `to_arrays` gave; None where there is none among the arrays."""
        if "kernels" not in arrays:
            return None
        keys = map(Signature.of_text, arrays["kernels"].tolist())
        return KernelTable(dict(zip(keys, arrays["kernel_s"].tolist(), strict=True)))

    def save(self, file: str | Path) -> None:
        """Write the table as npz without pickle."""
        with Path(file).open("wb") as out:
            np.savez(out, allow_pickle=False, **self.to_arrays())

    @staticmethod
    def load(file: str | Path) -> KernelTable:
        """Read what `save` wrote; raises ValueError for another file."""
        with understood(f"{file}: is not a table of kernels"):
            table = KernelTable.of_arrays(read_arrays(file))
        if table is None:
            raise ValueError(f"{file}: is not a table of kernels (it has no array 'kernels')")
        return table

    @cached_property
    def _families(self) -> dict[str, tuple[Floats, Floats]]:
        """Channels in and out [n, 2] and seconds [n] by family."""
        rows: dict[str, list[tuple[int, int, float]]] = {}
        for key, value in self.seconds.items():
            rows.setdefault(key.family, []).append((key.channels_in, key.channels_out, value))
        return {name: (np.array(row)[:, :2], np.array(row)[:, 2]) for name, row in rows.items()}


def _outside(network: Network, ops: Sequence[Op]) -> list[Op]:
    """The operators outside whose tensors `ops` read, in order."""
    inside = {op.name for op in ops}
    sources = (network.ops[source] for op in ops for source, _ in op.inputs)
    return list(dict.fromkeys(source for source in sources if source.name not in inside))


def _operator(network: Network, op: Op) -> str:
    given = {name: value for name, value in op.attrs if name not in _CHANNEL_ATTRIBUTES}
    if op.kind == "conv":
        groups, channels = op.attr("groups"), network.input_shapes(op)[0][0]
        given["groups"] = "channels" if groups == channels > 1 else groups
    return f"{op.kind}({','.join(f'{name}={value}' for name, value in given.items())})"


def _channel_axis(shape: Shape) -> int:
    """The channels of an image come first, the features of everything else last."""
    return 0 if len(shape) == 3 else len(shape) - 1


def _channels(shape: Shape) -> int:
    return shape[_channel_axis(shape)]


def _shape(shape: Shape, channels_in: int, channels_out: int) -> str:
    """A shape with `in` or `out` where it has those channels."""
    axis = _channel_axis(shape)
    name = {channels_in: "in"}.get(shape[axis]) or {channels_out: "out"}.get(shape[axis]) or str(shape[axis])
    return "x".join(name if i == axis else str(size) for i, size in enumerate(shape))
