"""The order of images follows from seed and epoch alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.tasks.image_classification.batches import epoch_batches, step_rng


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 300), batch_size=st.integers(1, 300), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 999))
def test_an_epoch_visits_images_once_and_drops_the_remainder(n: int, batch_size: int, seed: int, epoch: int) -> None:
    if batch_size > n:
        with pytest.raises(InputError, match=f"batch size {batch_size} with {n} training images"):
            epoch_batches(n, batch_size, seed, epoch)
        return
    batches = epoch_batches(n, batch_size, seed, epoch)
    assert batches.shape == (n // batch_size, batch_size)
    assert len(np.unique(batches)) == batches.size
    assert batches.min() >= 0
    assert batches.max() < n
    np.testing.assert_array_equal(batches, epoch_batches(n, batch_size, seed, epoch))


def test_a_batch_holds_something() -> None:
    with pytest.raises(InputError, match="batch size 0"):
        epoch_batches(10, 0, 0, 0)


def test_seeds_and_epochs_differ_from_each_other() -> None:
    """Also where a list of numbers given as entropy would be padded with zeros or cut in 32-bit words."""
    orders = [
        tuple(epoch_batches(50, 50, seed, epoch)[0].tolist())
        for seed in (0, 1, 2**32, 2**32 + 1)
        for epoch in (0, 1, 2)
    ]
    assert len(set(orders)) == len(orders)


def test_steps_have_generators_of_their_own() -> None:
    draws = {step_rng(seed, epoch, step).integers(2**63) for seed in (0, 1) for epoch in (0, 1) for step in range(3)}
    assert len(draws) == 12
    assert step_rng(5, 1, 2).integers(2**63) == step_rng(5, 1, 2).integers(2**63)
    assert step_rng(5, 1, 0).permutation(50).tolist() != epoch_batches(50, 50, 5, 1)[0].tolist()
