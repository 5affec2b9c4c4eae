"""Weights that are averaged while they are trained, and the rate at which they are."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from nas.errors import InputError
from nas.nn.batches import TrainingSet
from nas.nn.loop import Recipe, parameters
from nas.supernet.training import shared_weights, supernet_trainer
from search_spaces.slots import SearchSpace

RECIPE = Recipe(20, batch_size=16, learning_rate=0.05)


def test_weights_are_averaged_over_a_share_of_the_steps_and_a_resumed_training_averages_alike(
    tiny: SearchSpace, pictures: TrainingSet
) -> None:
    plain = supernet_trainer(tiny, pictures, RECIPE, seed=1, random_subnets=1)
    recipe = replace(RECIPE, averaging=0.2)
    trainer = supernet_trainer(tiny, pictures, recipe, seed=1, random_subnets=1)
    seen: list[dict[str, NDArray[np.float64]]] = []
    kept: dict[int, bytes] = {}
    state = trainer.run(
        trainer.start(), every=8, checkpoint=lambda s: kept.__setitem__(s.step, trainer.save(s)),
        after=lambda params, step: seen.append({name: np.array(value, np.float64) for name, value in params.items()}),
    )  # fmt: skip
    # The weights themselves go on as they would.
    assert all(np.array_equal(state.params[name], value) for name, value in plain.run(plain.start()).params.items())
    expected = {name: np.zeros(value.shape) for name, value in seen[0].items()}
    for steps, params in enumerate(seen, start=1):
        for name, value in params.items():
            expected[name] += (value - expected[name]) / min(steps, 4)
    found = shared_weights(state)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    again = trainer.run(trainer.load(kept[8]))
    assert all(np.array_equal(value, found[name]) for name, value in shared_weights(again).items())
    assert all(np.array_equal(value, found[name]) for name, value in parameters(kept[20], state.params).items())
    with pytest.raises(InputError, match="another training: recipe"):
        plain.load(kept[8])


def test_a_share_of_the_rate_may_be_left() -> None:
    params = {"a/bias": jnp.zeros(())}
    optimiser = Recipe(20, learning_rate=0.2, warmup=0.0, momentum=0.0, final_rate=0.25).optimiser()
    state, rates = optimiser.init(params), []
    for _ in range(22):
        updates, state = optimiser.update({"a/bias": jnp.ones(())}, state, params)
        rates.append(-float(updates["a/bias"]))
    assert rates[1:] == sorted(rates[1:], reverse=True) and np.allclose(rates[-2:], 0.05)


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    """With plain gradients of one, an update is minus the learning rate."""
    params = {"a/bias": jnp.zeros(())}
    optimiser = Recipe(20, learning_rate=0.2, warmup=0.25, momentum=0.0).optimiser()
    state, rates = optimiser.init(params), []
    for _ in range(20):
        updates, state = optimiser.update({"a/bias": jnp.ones(())}, state, params)
        rates.append(-float(updates["a/bias"]))
    assert np.argmax(rates) == 5 and np.isclose(rates[5], 0.2) and 0 < rates[0] < 0.05 and rates[-1] < 0.01
    assert rates[:6] == sorted(rates[:6]) and rates[5:] == sorted(rates[5:], reverse=True)
