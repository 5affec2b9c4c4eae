"""The genomes of a training step."""

from dataclasses import replace

import numpy as np
import pytest

from nas.errors import InputError
from nas.nn import loop
from nas.nn.batches import TrainingSet
from nas.nn.loop import Recipe
from nas.supernet.sampling import Sandwich, largest, operator_genes, smallest
from nas.supernet.training import supernet_trainer
from search_spaces.lightnas import lightnas
from search_spaces.mobile import mobile
from search_spaces.nasbench201 import nasbench201
from search_spaces.slots import SearchSpace, random_genomes
from search_spaces.toy import OPERATORS, toy
from tests.nas.small_spaces import CLASSES


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


def test_the_ends_are_known_beforehand_and_the_rest_follows_from_the_generator(tiny: SearchSpace) -> None:
    sampler = Sandwich(tiny, 3)
    assert np.array_equal(sampler.fixed, [largest(tiny), smallest(tiny)])
    drawn = sampler.draw(np.random.default_rng(4), 0)
    assert len(drawn) == 3 and np.array_equal(drawn, tiny.canonical(drawn))
    assert np.array_equal(drawn, sampler.draw(np.random.default_rng(4), 0))
    assert len(Sandwich(tiny, 0).draw(np.random.default_rng(4), 0)) == 0
    assert sampler.teaches


def test_the_operators_of_a_choice_take_turns() -> None:
    space = toy((1, 8, 8), 3)
    operator_choices = operator_genes(space)
    assert [space.genes[gene].name.rpartition(".")[2] for gene in operator_choices] == ["operator"] * 4
    rng, sampler = np.random.default_rng(0), Sandwich(space, 2 * len(OPERATORS) - 2)
    assert not len(sampler.fixed) and not sampler.teaches
    always = space.slots[1].genes[space.slots[1].operator_choice[0]]
    for _ in range(5):
        genomes = sampler.draw(rng, 0)
        assert (np.bincount(genomes[:, always], minlength=len(OPERATORS)) == 2).all()


@pytest.mark.parametrize(
    "space",
    [toy((1, 8, 8), 3), nasbench201((3, 8, 8), 10, 4, 1), lightnas((3, 32, 32), 10)],
    ids=lambda space: space.name,
)
@pytest.mark.parametrize("random", [0, 1, 2])
def test_every_operator_is_trained_in_every_step(space: SearchSpace, random: int) -> None:
    choices = operator_genes(space)
    widest = max(len(space.genes[gene].options) for gene in choices)
    # A gene of a block that is not there counts for nothing: the ones that always count are looked at.
    genomes = Sandwich(space, random).draw(np.random.default_rng(3), 0)
    assert len(genomes) == max(widest, 2 + random)
    always = [
        gene for gene in choices if space.active(random_genomes(space, 50, np.random.default_rng(0)))[:, gene].all()
    ]
    for gene in always:
        assert np.bincount(genomes[:, gene], minlength=len(space.genes[gene].options)).min() == 1


def test_a_checkpoint_tells_where_a_step_trains_more_than_it_did() -> None:
    """Of which an older release's training would not be the beginning."""
    space = toy((1, 8, 8), 3)
    assert Sandwich(space, 2).identity == {"random_subnets": 2}
    assert Sandwich(space, 1).identity == {"random_subnets": 1, "networks": len(OPERATORS)}


def test_one_that_an_older_release_ended_is_taken_and_one_in_training_is_not(pictures: TrainingSet) -> None:
    space = toy((1, 8, 8), CLASSES)
    trainer = supernet_trainer(space, pictures, Recipe(5, batch_size=16), seed=1, random_subnets=1)
    told = {key: value for key, value in trainer.identity.items() if key != "networks"}
    assert len(told) == len(trainer.identity) - 1
    start = trainer.start()
    assert trainer.load(loop.save(replace(start, step=5), told)).step == 5
    with pytest.raises(InputError, match="another training: networks was None and is 4"):
        trainer.load(loop.save(replace(start, step=4), told))
    with pytest.raises(InputError, match="another training: seed"):
        trainer.load(loop.save(replace(start, step=5), {**told, "seed": 2}))


@pytest.mark.parametrize("space", [toy((1, 8, 8), 3), mobile((1, 8, 8), 3, "8x8")])
def test_a_wish_takes_the_place_of_the_last_network(space: SearchSpace) -> None:
    wished = random_genomes(space, 1, np.random.default_rng(7))[0]
    plain, wishing = Sandwich(space, 2), Sandwich(space, 2, lambda step: wished if step > 3 else None)
    before, after = (wishing.draw(np.random.default_rng(1), step) for step in (3, 4))
    usual = plain.draw(np.random.default_rng(1), 4)
    assert np.array_equal(before, usual) and np.array_equal(after[:-1], usual[:-1])
    assert np.array_equal(after[-1], wished)
    none = [Sandwich(space, 0, wish).draw(np.random.default_rng(1), 4) for wish in (None, lambda step: wished)]
    assert np.array_equal(*none)
