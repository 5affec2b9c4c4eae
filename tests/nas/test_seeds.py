"""Seeds name things; two things never share a seed by the way their names are written."""

import numpy as np
import pytest

from nas.seeds import derive_seed


def test_seeds_do_not_change_between_versions() -> None:
    """The first eight bytes of SHA-256 of the text `[0, "train", 3]`, halved."""
    assert derive_seed(0, "train", 3) == 2619203806155676380


def test_different_paths_have_different_seeds() -> None:
    paths: list[tuple[int, tuple[str | int, ...]]] = [
        (0, ()), (1, ()), (0, ("a", "b")), (0, ("ab",)), (0, ("b", "a")), (0, ("1",)), (0, (1,)), (0, ("a", 1)),
        (0, ("a1",)), (0, ('a", "b',)), (1, (0,)), (10, ()),
    ]  # fmt: skip
    seeds = {derive_seed(run_seed, *path) for run_seed, path in paths}
    assert len(seeds) == len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_numpy_integers_count_as_integers_and_floats_do_not() -> None:
    assert derive_seed(0, "epoch", np.int64(3)) == derive_seed(0, "epoch", 3)
    with pytest.raises(TypeError):
        derive_seed(0, 1.5)
