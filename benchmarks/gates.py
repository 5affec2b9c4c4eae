"""What a pass with gates costs: loss and gradient by every gate, over loss and gradient by the weights, same networks.

    python benchmarks/gates.py [--batch 64] [--repeats 9] [--json OUT]

Both run through the supernet's one program for all networks, on the same batch of random images, in turns; networks are
the largest one and random ones, each gated and plain. Compilation is not counted. With gates what is inactive is
computed as well, and so are blocks that are absent; the gradient by the weights is not.
"""

from __future__ import annotations

from kept_heap import KEPT

# isort: split

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import numpy as np

from nas.nn import backend, native
from nas.nn.weights import initialise, supernet_shapes
from nas.supernet.elastic import Gates, Supernet
from nas.supernet.gates import hard_gates
from nas.supernet.sampling import largest
from search_spaces.lightnas import Row, lightnas
from search_spaces.mobile import mobile
from search_spaces.nasbench201 import nasbench201
from search_spaces.slots import SearchSpace, random_genomes, sizes

SPACES: dict[str, Callable[[], SearchSpace]] = {
    "mobile 8x8": lambda: mobile((1, 8, 8), 10, "8x8"),
    "mobile 28x28": lambda: mobile((1, 28, 28), 10, "28x28"),
    "nasbench201 16x16": lambda: nasbench201((3, 16, 16), 10, 8, 1),
    "lightnas 32x32": lambda: lightnas(
        (3, 32, 32), 10, plan=(Row(16, 2), Row(24, 3, 2), Row(40, 3, 2)), head=(128, 64)
    ),
}
RANDOM = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    backend.prepare()
    rows = []
    for name, make in SPACES.items():
        rows += measured(name, make(), arguments.batch, arguments.repeats)
    print(f"{'space':<20}{'network':<10}{'plain ms':>10}{'gated ms':>10}{'ratio':>8}{'least':>8}{'most':>8}")
    for row in rows:
        times = f"{1e3 * row['plain_s']:>10.1f}{1e3 * row['gated_s']:>10.1f}"
        print(
            f"{row['space']:<20}{row['network']:<10}{times}{row['ratio']:>8.2f}{row['ratio_min']:>8.2f}{row['ratio_max']:>8.2f}"
        )
    if arguments.json:
        figures.write(arguments.json, {"native_depthwise": native.available(), "heap_kept": KEPT, "rows": rows})


def measured(name: str, space: SearchSpace, batch: int, repeats: int) -> list[dict[str, Any]]:
    """A row for the largest network and one for random ones together."""
    import jax
    import jax.numpy as jnp

    supernet, rng = Supernet(space), np.random.default_rng(0)
    shapes = {key: weight for key, weight in supernet_shapes(space).items() if weight.trainable}
    params = {key: jnp.asarray(value) for key, value in initialise(shapes, 0).items()}
    images = jnp.asarray(rng.normal(size=(batch, *space.input_shape)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, space.classes, batch))

    def loss(logits: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits[-1]), labels[:, None], axis=1).mean()

    @jax.jit
    def plain(params: Any, combination: Any, gates: Any) -> Any:
        return jax.value_and_grad(lambda weights: loss(supernet.forward(weights, {}, images, combination, "train")[0]))(
            params
        )

    @jax.jit
    def gated(params: Any, combination: Any, gates: Any) -> Any:
        return jax.value_and_grad(
            lambda values: loss(supernet.forward(params, {}, images, combination, "train", gates=Gates(values))[0])
        )(gates)

    options = int(sizes(space).max())
    found = []
    for network, genomes in (("largest", largest(space)[None]), ("random", random_genomes(space, RANDOM, rng))):
        combinations = supernet.choices(genomes).combination

        def all_of(run: Any, genomes: Any = genomes, combinations: Any = combinations) -> float:
            begun = time.perf_counter()
            for genome, combination in zip(genomes, combinations, strict=True):
                jax.block_until_ready(run(params, combination, hard_gates(genome, options)))
            return (time.perf_counter() - begun) / len(genomes)

        all_of(plain), all_of(gated)
        pairs = [(all_of(plain), all_of(gated)) for _ in range(repeats)]
        ratios = [with_gates / without for without, with_gates in pairs]
        found.append(
            {
                "space": name, "network": network, "batch": batch,
                "plain_s": statistics.median(pair[0] for pair in pairs),
                "gated_s": statistics.median(pair[1] for pair in pairs),
                "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
            }
        )  # fmt: skip
    return found


if __name__ == "__main__":
    main()
