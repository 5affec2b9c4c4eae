"""What a space promises of its weights: they are shared, every choice runs with them, and networks can be exported."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.testing.laws import require
from search_spaces.slots import SearchSpace, random_genomes, sizes

#: Genomes among which one is looked for that makes a choice.
_SAMPLES = 512


def operator_choices_share_no_array(space: SearchSpace) -> None:
    """Operators of a choice share no array, and elastic ones slice that of the largest combination"""
    for slot in space.slots:
        arrays: dict[tuple[int, ...], list[dict[str, tuple[int, ...]]]] = {}
        kinds: dict[str, str] = {}
        for values in slot.combinations():
            part = slot.network(values)
            if part is None:
                continue
            operator_choice = tuple(values[position] for position in slot.operator_choice)
            arrays.setdefault(operator_choice, []).append(
                {key: weight.shape for key, weight in part.weight_shapes.items()}
            )
            for op in part.ops:
                require(
                    kinds.setdefault(op.name, op.kind) == op.kind,
                    f"operator {op.name} is a {kinds[op.name]} in one combination and a {op.kind} in another",
                    "give them different names, and the gene a place in `operator_choice`",
                )
        owners = [set[str]().union(*found) for found in arrays.values()]
        shared = sorted({key for n, keys in enumerate(owners) for other in owners[n + 1 :] for key in keys & other})
        require(
            not shared,
            f"{', '.join(shared[:3])} of slot {slot.name} belong to several options of its operator choice",
            "put the option into the operators' names, so that each has weights of its own",
        )
        for found in arrays.values():
            largest = max(found, key=lambda shapes: (len(shapes), sum(map(math.prod, shapes.values()))))
            for key, shape in ((key, shape) for shapes in found for key, shape in shapes.items()):
                whole = largest.get(key, ())
                require(
                    len(whole) == len(shape) and all(a <= b for a, b in zip(shape, whole, strict=True)),
                    f"{key} of slot {slot.name} has shape {shape} in one combination, {whole or 'none'} in the largest",
                    "let the largest combination have every array at its largest, or give the gene a place "
                    "in `operator_choice`",
                )


def combinations_share_weights(space: SearchSpace) -> None:
    """All combinations of every slot share weights"""
    from nas.supernet.elastic import Supernet

    Supernet(space)


def every_choice_runs(space: SearchSpace) -> None:
    """A forward pass with shared weights gives finite answers for every option of every choice"""
    import jax
    import jax.numpy as jnp

    from nas.nn import backend
    from nas.supernet.elastic import Supernet

    backend.prepare()
    supernet, weights = Supernet(space), _weights(space)
    params = {name: jnp.asarray(value) for name, value in weights.items()}
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, *space.input_shape)), jnp.float32)

    @jax.jit
    def answers(combination: Any) -> Any:
        return supernet.forward(params, params, images, combination, "calibrate")[0]

    def loss(params: Any, combination: Any) -> Any:
        return supernet.forward(params, params, images, combination, "train")[0].sum()

    genomes = choosing(space)
    choices = supernet.choices(genomes)
    # What training and judging compile is traced, which is enough for errors and costs no compilation.
    jax.eval_shape(jax.grad(loss), params, choices.combination[0])
    jax.eval_shape(lambda row: supernet.forward(params, params, images, row, "eval")[0], choices.combination[0])
    for genome, combination, legal in zip(genomes.tolist(), choices.combination, choices.legal, strict=True):
        logits = np.asarray(answers(combination))[legal]
        require(
            logits.shape == (int(legal.sum()), 2, space.classes) and np.isfinite(logits).all(),
            f"{genome} answers two images with an array of shape {logits.shape}, finite: {np.isfinite(logits).all()}",
            "keep activations finite, and one answer per class at every exit",
        )


def networks_export(space: SearchSpace) -> None:
    """Networks can be written as ONNX"""
    from nas.deploy.onnx import to_onnx
    from nas.nn.weights import extract

    weights = _weights(space)
    for genome in (np.zeros(len(space.genes), np.int64), sizes(space) - 1):
        network = space.decode(space.canonical(genome[None])[0])
        require(to_onnx(network, extract(network, weights)), f"{genome.tolist()} is an empty file", "give it operators")


def choosing(space: SearchSpace) -> NDArray[np.int64]:
    """Genomes [n, genes] that together choose every option of every slot that any genome chooses."""
    tried = random_genomes(space, _SAMPLES, np.random.default_rng(0))
    tried = np.concatenate([tried, space.canonical(np.array([sizes(space) - 1, np.zeros(len(space.genes), np.int64)]))])
    chosen: dict[int, None] = {}
    for slot in space.slots:
        combinations = list(slot.combinations())
        seen: set[tuple[int, int]] = set()
        for row, index in enumerate(slot.index(tried).tolist()):
            options = set(enumerate(combinations[index])) or {(-1, 0)}
            if not options <= seen and slot.network(combinations[index]) is not None:
                seen |= options
                chosen[row] = None
    return tried[list(chosen)]


def _weights(space: SearchSpace) -> dict[str, NDArray[np.float32]]:
    from nas.nn.weights import initialise, supernet_shapes

    return initialise(supernet_shapes(space), 0)
