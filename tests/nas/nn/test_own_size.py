"""When a network is worth a program of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.nn.loop import Recipe
from nas.nn.own_size import OwnSize, pays

OWN = OwnSize(lambda params, images, scales: images, 100, 10**6, 4 * 10**6)


def least_steps(own: OwnSize, batch_size: int = 64) -> int:
    """From how many steps on it pays."""
    return next(steps for steps in range(10**6) if pays(own, Recipe(steps, batch_size)))


def test_it_pays_from_some_number_of_steps_on() -> None:
    least = least_steps(OWN)
    assert least > 1 and all(pays(OWN, Recipe(least + more, 64)) for more in (1, 10, 10**6))


@pytest.mark.parametrize(
    ("changed", "sooner"),
    [({"macs": 10**5}, True), ({"macs": 3 * 10**6}, False), ({"operators": 50}, True), ({"shared_macs": 10**7}, True)],
)
def test_it_pays_the_sooner_the_more_is_saved_and_the_less_is_compiled(changed: dict[str, int], sooner: bool) -> None:
    other = OWN._replace(**changed)
    assert (least_steps(other) < least_steps(OWN)) is sooner and least_steps(other) != least_steps(OWN)


def test_larger_batches_pay_sooner() -> None:
    assert least_steps(OWN, 128) < least_steps(OWN, 64)


def test_a_network_that_computes_more_than_the_program_for_all_never_pays() -> None:
    assert not pays(OWN._replace(macs=5 * 10**6), Recipe(10**9))


def test_only_length_and_batch_of_a_recipe_count() -> None:
    least = least_steps(OWN)
    for steps in (least - 1, least):
        recipe = Recipe(steps)
        assert pays(OWN, recipe) == pays(OWN, replace(recipe, learning_rate=1.0, equilibrium=True, distillation=0.0))
