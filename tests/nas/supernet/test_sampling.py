"""The genomes of a training step."""

import numpy as np

from nas.supernet.sampling import largest, operator_genes, sandwich, smallest
from search_spaces.mobile import mobile
from search_spaces.slots import SearchSpace, random_genomes
from search_spaces.toy import OPERATORS, toy


def test_no_network_is_larger_or_smaller(tiny: SearchSpace) -> None:
    macs = [tiny.decode(genome).macs for genome in random_genomes(tiny, 60, np.random.default_rng(0))]
    assert tiny.decode(smallest(tiny)).macs <= min(macs) and max(macs) <= tiny.decode(largest(tiny)).macs


def test_the_extremes_go_by_value_not_by_the_order_of_options() -> None:
    ascending = mobile((1, 8, 8), 4, "8x8")
    stages = tuple(
        type(stage)(stage.widths[::-1], stage.depths[::-1], stage.stride,
                    {name: options[::-1] for name, options in stage.options.items()})
        for stage in ascending.stages
    )  # fmt: skip
    descending = mobile((1, 8, 8), 4, "8x8", stages=stages)
    for extreme in (largest, smallest):
        assert ascending.decode(extreme(ascending)).macs == descending.decode(extreme(descending)).macs


def test_sandwich_is_canonical_and_follows_from_the_generator(tiny: SearchSpace) -> None:
    genomes = sandwich(tiny, 3, np.random.default_rng(4))
    assert (
        np.array_equal(genomes[0], largest(tiny)) and np.array_equal(genomes[1], smallest(tiny)) and len(genomes) == 5
    )
    assert np.array_equal(genomes, tiny.canonical(genomes))
    assert np.array_equal(genomes, sandwich(tiny, 3, np.random.default_rng(4)))


def test_the_operators_of_a_choice_take_turns() -> None:
    space = toy((1, 8, 8), 3)
    operator_choices = operator_genes(space)
    assert [space.genes[gene].name.rpartition(".")[2] for gene in operator_choices] == ["operator"] * 4
    rng = np.random.default_rng(0)
    always = space.slots[1].genes[space.slots[1].operator_choice[0]]
    for _ in range(5):
        genomes = sandwich(space, 2 * len(OPERATORS) - 2, rng)
        assert (np.bincount(genomes[:, always], minlength=len(OPERATORS)) == 2).all()
