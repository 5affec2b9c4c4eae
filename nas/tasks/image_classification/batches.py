"""The order of training images: a function of (seed, epoch), never of what was called before."""

# Positions go into spawn_key, because a plain list of entropy is padded with zeros: [1, 2] and [1, 2, 0] are one seed.
import numpy as np
import numpy.typing as npt

from nas.errors import InputError


def epoch_batches(n: int, batch_size: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return [steps, batch_size] positions in 0..n-1 for one epoch, each at most once; the remainder is dropped.

    `seed` is a stage's own (`nas.seeds.derive_seed(run_seed, "supernet")`).
    Raises InputError when there are fewer images than a batch holds.
    """
    if not 1 <= batch_size <= n:
        raise InputError(
            f"batch size {batch_size} with {n} training images; it must be at least 1 and at most the number of images"
        )
    steps = n // batch_size
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,))).permutation(n)
    return order[: steps * batch_size].reshape(steps, batch_size)


def step_rng(seed: int, epoch: int, step: int) -> np.random.Generator:
    """Return the generator for one training step (augmentation, sampling), so that a resumed run continues with it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, step)))
