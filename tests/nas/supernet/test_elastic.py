"""The masked supernet against the network a genome decodes to, with the weights cut out for it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from nas.nn.interpreter import apply, split
from nas.nn.weights import cut, extract, initialise, supernet_shapes
from nas.supernet.elastic import Supernet
from nas.supernet.sampling import largest, smallest
from nas.tolerances import MASK_TO_EXTRACTED
from search_spaces.ir import Builder, Network
from search_spaces.mobile import conv_bn, linear_exit, mobile
from search_spaces.op import Ref
from search_spaces.slots import SearchSpace, Slot, random_genomes
from search_spaces.staged import StagedSpace
from search_spaces.toy import toy

MODES = ("train", "eval", "calibrate")


def random_shared(space: SearchSpace) -> tuple[dict[str, Array], dict[str, Array]]:
    """Shared weights of which none is at a neutral value, as (params, stats)."""
    shapes = supernet_shapes(space)
    weights = initialise(shapes, 0)
    rng = np.random.default_rng(0)
    for name, weight in shapes.items():
        if weight.role in ("scale", "variance"):
            weights[name] = rng.uniform(0.5, 2, weight.shape).astype(np.float32)
        elif weight.role != "kernel":
            weights[name] = (0.3 * rng.normal(size=weight.shape)).astype(np.float32)
    params = {name: jnp.asarray(weights[name]) for name, weight in shapes.items() if weight.trainable}
    return params, {name: jnp.asarray(weights[name]) for name in shapes if name not in params}


def exits_of(supernet: Supernet, genome: Any) -> list[int]:
    """Positions of the exits that the genome has."""
    plans = [supernet.plans[position] for position in supernet.positions]
    return [i for i, p in enumerate(plans) if p.slot.network(p.slot.values(genome)) is not None]


def run(network: Network, mode: Any, params: Any, stats: Any, x: Array) -> Any:
    result = apply(network, params, stats, {"image": x}, mode)
    return result.outputs, result.stats


def check_equal(space: SearchSpace, modes: tuple[Any, ...], genomes: Any) -> None:
    supernet = Supernet(space)
    params, stats = random_shared(space)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(6, *space.input_shape)), jnp.float32)
    choices = supernet.choices(genomes)
    for mode in modes:
        forward = jax.jit(lambda p, s, x, c, mode=mode: supernet.forward(p, s, x, c, mode))
        for genome, combination, legal in zip(genomes, choices.combination, choices.legal, strict=True):
            logits, found = forward(params, stats, x, combination)
            network = space.decode(genome)
            own = split(network, extract(network, {**params, **stats}))
            outputs, expected_stats = run(network, mode, *own, x)
            exits = exits_of(supernet, genome)
            assert legal[exits].all()
            expected = np.stack(outputs)
            error = np.abs(np.asarray(logits)[exits] - expected).max()
            assert error <= MASK_TO_EXTRACTED * np.abs(expected).max(), (genome, mode)
            for name, value in expected_stats.items():
                assert np.allclose(cut(found[name], value.shape), value, rtol=1e-3, atol=1e-5), (genome, name)


def some(space: SearchSpace, n: int, seed: int = 0) -> Any:
    return np.concatenate([[largest(space), smallest(space)], random_genomes(space, n, np.random.default_rng(seed))])


def test_masks_equal_extracted_networks(tiny: SearchSpace) -> None:
    check_equal(tiny, ("train", "eval"), some(tiny, 2))


def test_entries_of_operator_choices_equal_extracted_networks() -> None:
    space = toy((2, 6, 6), 3)
    check_equal(space, ("train", "eval"), some(space, 4))


@pytest.mark.slow
@pytest.mark.parametrize(("table", "size"), [("8x8", 8), ("28x28", 28), ("32x32", 16)])
def test_masks_of_the_shipped_tables_equal_extracted_networks(table: str, size: int) -> None:
    space = mobile((3, size, size), 10, table)
    check_equal(space, MODES, some(space, 12))


def one_block(block: Callable[[Builder, Ref, int], Ref], sizes: int) -> SearchSpace:
    """Stem, one block whose only gene is an integer below `sizes`, and a head; for shapes that no shipped space has."""

    class OneBlock(StagedSpace):
        @property
        def slots(self) -> tuple[Slot, ...]:
            stem, body, final = super().slots
            head = Slot(
                "final", "final", body.genes, body.sizes, final.inputs,
                lambda b, refs, values: final.build(b, refs, ()),
                lambda values: (_shape(body, values),),
            )  # fmt: skip
            return (stem, body, head)

    def _shape(body: Slot, values: tuple[int, ...]) -> tuple[int, ...]:
        network = body.network(values)
        assert network is not None
        return network.ops[network.exits[0]].shape

    from search_spaces.staged import Stage

    return OneBlock(
        "one", (2, 6, 6), 3, (Stage((4,), (1,), 1, {"n": tuple(range(sizes))}),),
        lambda b, x: conv_bn(b, "stem.conv", x, 4, 3),
        lambda b, name, x, width, stride, activation, options: block(b, x, options["n"]),
        linear_exit, lambda b, x, classes: linear_exit(b, "final", x, classes), max_exits=0,
    )  # fmt: skip


def biased(b: Builder, x: Ref, n: int) -> Ref:
    """Elastic channels behind a bias, a gate that is one half at zero, and an output without batch norm."""
    y = b("conv", "a", x, filters=3 + n, kernel=3, bias=True)
    y = b("mul", "gated", y, b("hard_sigmoid", "gate", b("conv", "b", x, filters=3 + n, kernel=1, padding=0)))
    y = b("conv", "c", b("hard_sigmoid", "s", y), filters=5, kernel=1, padding=0)
    return b("conv", "d", y, filters=2 + n, kernel=3 + 2 * (n % 2), bias=True)


def sequence(b: Builder, x: Ref, n: int) -> Ref:
    """Dense layers, layer norm and attention over 36 tokens with elastic features."""
    tokens = b("transpose", "tokens", b("reshape", "flat", x, shape=(4, 36)), perm=(1, 0))
    q = b("layer_norm", "norm", b("dense", "q", tokens, units=3 + n))
    k = b("transpose", "kt", b("dense", "k", tokens, units=3 + n, bias=False), perm=(1, 0))
    v = b("gelu", "gelu", b("dense", "v", tokens, units=2 + n))
    y = b("matmul", "mix", b("softmax", "attention", b("matmul", "scores", q, k)), v)
    y = b("dense", "out", y, units=4)
    return b("reshape", "picture", b("transpose", "back", y, perm=(1, 0)), shape=(4, 6, 6))


def narrowing(b: Builder, x: Ref, n: int) -> Ref:
    """A residual present only where the widths agree: the block's widest is wider than its input."""
    y = conv_bn(b, "conv", x, 4 + n, 3, "relu")
    return b("add", "sum", y, x) if n == 0 else y


def unnormalised(b: Builder, x: Ref, n: int) -> Ref:
    """An addition that is present for some, behind a convolution whose inactive channels are not zero."""
    y = b("conv", "conv", x, filters=2 + n, kernel=3)
    return b("add", "sum", y, b("conv", "side", x, filters=2 + n, kernel=1, padding=0)) if n % 2 else y


@pytest.mark.slow
@pytest.mark.parametrize("block", [biased, sequence, narrowing, unnormalised])
def test_masks_of_unusual_blocks(block: Callable[[Builder, Ref, int], Ref]) -> None:
    space = one_block(block, 4)
    check_equal(space, ("train",), np.arange(4)[:, None])


def test_gradients_are_those_of_the_extracted_network(tiny: SearchSpace) -> None:
    supernet = Supernet(tiny)
    params, _ = random_shared(tiny)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(6, 1, 8, 8)), jnp.float32)
    genome = random_genomes(tiny, 1, np.random.default_rng(5))[0]
    network, exits = tiny.decode(genome), exits_of(supernet, genome)
    combination = supernet.choices(genome[None]).combination[0]
    weight = jnp.asarray(np.random.default_rng(2).normal(size=(len(exits), 6, tiny.classes)), jnp.float32)

    def masked(params: dict[str, Array], combination: Array) -> Array:
        logits, _ = supernet.forward(params, {}, x, combination, "train")
        return (logits[jnp.asarray(exits)] * weight).sum()

    def static(params: dict[str, Array]) -> Array:
        own = {name: cut(params[name], w.shape) for name, w in network.weight_shapes.items() if w.trainable}
        return (jnp.stack(apply(network, own, {}, {"image": x}, "train").outputs) * weight).sum()

    got, expected = jax.jit(jax.grad(masked))(params, combination), jax.jit(jax.grad(static))(params)
    scale = max(float(jnp.linalg.norm(value)) for value in expected.values())
    for name in params:
        assert jnp.linalg.norm(got[name] - expected[name]) <= 1e-4 * scale, name


def test_an_exit_is_legal_where_canonical_lets_it_be(tiny: SearchSpace) -> None:
    supernet = Supernet(tiny)
    genomes = random_genomes(tiny, 40, np.random.default_rng(1))
    choices = supernet.choices(genomes)
    seen = set()
    for genome, legal in zip(genomes, choices.legal, strict=True):
        for position in range(len(supernet.positions) - 1):
            slot = supernet.plans[supernet.positions[position]].slot
            alone = genome.copy()
            for other in supernet.positions[:-1]:
                alone[supernet.plans[other].slot.genes[-1]] = 0
            alone[slot.genes[-1]] = 1
            alone = tiny.canonical(alone[None])[0]
            on = slot.network(slot.values(alone)) is not None
            assert on == legal[position]
            seen.add(on)
        assert legal[-1]
    assert seen == {True, False}


def test_exit_genes_do_not_change_the_choices(tiny: SearchSpace) -> None:
    supernet = Supernet(tiny)
    genome = largest(tiny)
    off = genome.copy()
    for position in supernet.positions[:-1]:
        off[supernet.plans[position].slot.genes[-1]] = 0
    both = supernet.choices(np.stack([genome, off]))
    assert not np.array_equal(genome, off) and np.array_equal(*both.combination) and np.array_equal(*both.legal)
