"""How fast a supernet trains: images per second in JAX, and in PyTorch on the same network.

For each table of the mobile space, on batches of random images:

* `jax static`: one training step (forward, backward, SGD with momentum) of the largest network, compiled alone;
* `jax masked`: the same network through the supernet's one program for all networks;
* `sandwich`: one whole update of the supernet, largest + smallest + 2 random networks, the first two as programs of
  their own size where that saves something; images count once per update;
* `sandwich masked`: the same update with all four networks through the one program, as it was before;
* `torch`: the same step of the same network in PyTorch eager mode, channels last, where PyTorch is installed.

The variants take turns, so that what else the machine does hits all of them; still, PyTorch's threads wait for each
other and lose most of their speed where a core is busy with something else, so on a machine that is not quiet compare
on one core with one thread (`taskset -c 0 python … --threads 1`). The ratios are JAX static to PyTorch, and `sandwich`
to `sandwich masked`. The first step includes compilation, or reading its result from the user's cache.

    python benchmarks/supernet.py --tables 8x8 28x28 --repeats 7 --json supernet.json
"""

from __future__ import annotations

from kept_heap import KEPT

# isort: split

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import figures
import numpy as np
from numpy.typing import NDArray

from nas.nn import backend, native
from nas.nn.batches import TrainingSet
from nas.nn.loop import Recipe
from nas.nn.static import network_trainer
from nas.nn.trainer import Trainer
from nas.supernet.sampling import Sandwich, largest
from nas.supernet.training import SharedNetworks
from nas.tasks.image_classification.preprocessing import Preprocessing
from search_spaces.ir import Network
from search_spaces.mobile import TABLES, mobile
from search_spaces.operators import conv_padding
from search_spaces.slots import SearchSpace, with_exits

CLASSES = 10
#: Images of 224x224 in a step; otherwise 64.
BATCHES = {"224x224": 8}
#: Steps per reading.
STEPS = 4
#: Random networks of an update.
RANDOM = 2


@dataclass(frozen=True)
class Row:
    """One variant on one table."""

    table: str
    variant: str
    batch: int
    first_s: float
    processor_s_median: float
    images_per_s_min: float
    images_per_s_median: float
    images_per_s_max: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=["8x8", "28x28"])
    parser.add_argument("--batch", type=int, help="64 by default, and 8 at 224x224")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of PyTorch")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    backend.prepare()
    rows: list[Row] = []
    for table in arguments.tables:
        rows += measure(table, arguments.batch or BATCHES.get(table, 64), arguments.repeats, arguments.threads)
    print(f"{'table':8} {'variant':16} {'first step':>10} {'CPU s':>7} {'images/s min':>13} {'median':>8} {'max':>8}")
    for row in rows:
        rates = (row.images_per_s_min, row.images_per_s_median, row.images_per_s_max)
        about = f"{row.table:8} {row.variant:16} {row.first_s:8.1f} s {row.processor_s_median:7.3f}"
        print(f"{about} {rates[0]:13.0f} {rates[1]:8.0f} {rates[2]:8.0f}")
    to_torch = ratios(rows, "jax static", "torch")
    for table, ratio in to_torch.items():
        print(f"{table}: JAX trains the largest network {ratio:.2f} times as fast as PyTorch eager")
    to_masked = ratios(rows, "sandwich", "sandwich masked")
    for table, ratio in to_masked.items():
        print(f"{table}: an update with ends of their own size is {ratio:.2f} times as fast as without")
    if arguments.json:
        record = {
            **computed_on(),
            "rows": [asdict(row) for row in rows],
            "ratios": to_torch,
            "ratios_own_size": to_masked,
        }
        figures.write(arguments.json, record)


def computed_on() -> dict[str, Any]:
    """What JAX computes on."""
    import jax

    return {"backend": jax.default_backend(), "native_depthwise": native.available(), "heap_kept": KEPT}


def ratios(rows: list[Row], one: str, other: str) -> dict[str, float]:
    """Median rate of one variant over that of another by table, where there are both."""
    rates = {(row.table, row.variant): row.images_per_s_median for row in rows}
    tables = [table for table, variant in rates if variant == one and (table, other) in rates]
    return {table: rates[table, one] / rates[table, other] for table in tables}


def measure(table: str, batch: int, repeats: int, threads: int) -> list[Row]:
    """Interleaved readings of all variants."""
    channels = 1 if TABLES[table].size[0] <= 28 else 3
    space = mobile((channels, *TABLES[table].size), CLASSES, table)
    variants = {
        "jax static": jax_static(space, batch),
        "jax masked": jax_masked(space, batch),
        "sandwich": sandwich(SharedNetworks(space), batch),
        "sandwich masked": sandwich(OnlyMasked(space), batch),
    }
    if importlib.util.find_spec("torch"):
        variants["torch"] = torch_static(space, batch, threads)
    first = {name: timed(run, 1)[0] for name, run in variants.items()}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            # The variant before has worked elsewhere in memory.
            run(1)
            seconds[name].append(timed(run, STEPS))
    return [row(table, name, batch, first[name], seconds[name]) for name in variants]


def row(table: str, variant: str, batch: int, first_s: float, seconds: list[tuple[float, float]]) -> Row:
    """A row of readings (seconds, processor seconds) of a step."""
    walls, processor = ([each[n] for each in seconds] for n in (0, 1))
    rates = batch / max(walls), batch / statistics.median(walls), batch / min(walls)
    return Row(table, variant, batch, first_s, statistics.median(processor), *rates)


def timed(run: Callable[[int], None], steps: int) -> tuple[float, float]:
    """Seconds, and processor seconds of this process, that each of `steps` steps takes."""
    begin, used = time.perf_counter(), time.process_time()
    run(steps)
    return (time.perf_counter() - begin) / steps, (time.process_time() - used) / steps


def network_of(space: SearchSpace) -> Network:
    """The largest network with as many exits as it may have."""
    return space.decode(with_exits(space, largest(space), range(len(space.slots))))


def random_set(space: SearchSpace, n: int) -> TrainingSet:
    """Pictures of noise."""
    rng = np.random.default_rng(0)
    channels, height, width = space.input_shape
    images = rng.integers(0, 256, (n, channels, height, width), dtype=np.uint8)
    record = Preprocessing(
        (height, width), channels, (0.5,) * channels, (0.3,) * channels, 1 / 255, tuple(map(str, range(CLASSES)))
    )
    return TrainingSet(images, rng.integers(0, CLASSES, n).astype(np.int32), record)


def stepping(trainer: Trainer) -> Callable[[int], None]:
    """A function that trains some steps further and waits for the result."""
    import jax

    state = trainer.start()

    def run(steps: int) -> None:
        nonlocal state
        state = trainer.run(state, state.step + steps)
        jax.block_until_ready(state.params)

    return run


def jax_static(space: SearchSpace, batch: int) -> Callable[[int], None]:
    """Training of the largest network by itself."""
    return stepping(network_trainer(network_of(space), random_set(space, 8 * batch), Recipe(10**6, batch), 0))


class OnlyMasked(SharedNetworks):
    """The networks of a space, all through the one program."""

    def own_size(self, genome: NDArray[np.int64]) -> None:
        """None has one."""


def sandwich(networks: SharedNetworks, batch: int) -> Callable[[int], None]:
    """Training of the supernet."""
    data, sampler = random_set(networks.space, 8 * batch), Sandwich(networks.space, RANDOM)
    return stepping(Trainer(networks, sampler, data, Recipe(10**6, batch), 0))


class OnlyLargest(Sandwich):
    """The largest network alone."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space, 0)
        self.fixed = largest(space)[None]


def jax_masked(space: SearchSpace, batch: int) -> Callable[[int], None]:
    """Training of the largest network through the supernet's program."""
    data, recipe = random_set(space, 8 * batch), Recipe(10**6, batch)
    return stepping(Trainer(SharedNetworks(space), OnlyLargest(space), data, recipe, 0))


def torch_static(space: SearchSpace, batch: int, threads: int) -> Callable[[int], None]:
    """The same network, optimiser and number of exits in PyTorch eager mode, images channels last."""
    import torch

    torch.set_num_threads(threads)
    network = network_of(space)
    model = torch_module(network).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=3e-5)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(batch, *space.input_shape)).astype(np.float32))
    images = images.to(memory_format=torch.channels_last)
    labels = torch.from_numpy(rng.integers(0, CLASSES, batch))
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.1)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            outputs = model(images)
            teacher = outputs[-1].detach().softmax(1)
            loss = loss_of(outputs[-1], labels)
            for output in outputs[:-1]:
                loss = loss + (0.5 * loss_of(output, teacher) + 0.5 * loss_of(output, labels)) / (len(outputs) - 1)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()

    return run


def torch_module(network: Network) -> Any:
    """The IR's network as a PyTorch module; knows the operators of the mobile space."""
    import torch
    from torch import nn
    from torch.nn import functional

    functions: dict[str, Callable[..., Any]] = {
        "add": torch.add,
        "mul": torch.mul,
        "relu": functional.relu,
        "hard_swish": functional.hardswish,
        "hard_sigmoid": functional.hardsigmoid,
        "global_pool": lambda x: x.mean((2, 3), keepdim=True),
        "reshape": lambda x: x.flatten(1),
    }

    class Module(nn.Module):  # type: ignore[misc]  # torch is not installed with the rest, so its classes are unknown
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleDict()
            for op in network.ops:
                inputs, a = network.input_shapes(op), op.attributes
                name = op.name.replace(".", "_")
                if op.kind == "conv":
                    self.layers[name] = nn.Conv2d(
                        inputs[0][0], a["filters"], a["kernel"], a["stride"], conv_padding(a), groups=a["groups"],
                        bias=a["bias"],
                    )  # fmt: skip
                elif op.kind == "batch_norm":
                    self.layers[name] = nn.BatchNorm2d(inputs[0][0])
                elif op.kind == "dense":
                    self.layers[name] = nn.Linear(inputs[0][0], a["units"])

        def forward(self, x: Any) -> list[Any]:
            tensors: list[Any] = []
            for op in network.ops:
                sources = [tensors[index] for index, _ in op.inputs]
                if op.kind == "input":
                    tensors.append(x)
                elif op.kind in functions:
                    tensors.append(functions[op.kind](*sources))
                else:
                    tensors.append(self.layers[op.name.replace(".", "_")](sources[0]))
            return [tensors[index] for index in network.exits]

    return Module()


if __name__ == "__main__":
    main()
