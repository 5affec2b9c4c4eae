"""Augmentation keeps shape and type, moves pixels without inventing any, and follows its generator."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.tasks.image_classification.augment import augment
from nas.tasks.image_classification.dataset import Augmentation, RawData
from nas.tasks.image_classification.digits import digits


def images(n: int = 64, height: int = 8, width: int = 6, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(1, 256, (n, 3, height, width)).astype(dtype)


ALL = Augmentation(shift=2, flip=True, cutout=3)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(shift=1), Augmentation(flip=True), ALL])
def test_shape_and_type_stay_and_the_input_is_untouched(augmentation: Augmentation, dtype: Any) -> None:
    x = images(dtype=dtype)
    before = x.copy()
    out = augment(x, augmentation, np.random.default_rng(1))
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert not np.shares_memory(out, x)
    np.testing.assert_array_equal(x, before)


def test_equal_generators_give_equal_images() -> None:
    first, again, other = (augment(images(), ALL, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_bytes_and_floats_are_changed_alike() -> None:
    small, wide = (augment(images(dtype=dtype), ALL, np.random.default_rng(1)) for dtype in (np.uint8, np.float32))
    np.testing.assert_array_equal(small, wide)


def test_nothing_asked_nothing_changed() -> None:
    np.testing.assert_array_equal(augment(images(), Augmentation(), np.random.default_rng(1)), images())


def test_every_shift_is_a_move_by_at_most_so_many_pixels_filled_with_0() -> None:
    x = images(200)
    seen = set()
    for before, after in zip(x, augment(x, Augmentation(shift=2), np.random.default_rng(1)), strict=True):
        padded = np.pad(before, ((0, 0), (2, 2), (2, 2)))
        moves = [(i, j) for i in range(5) for j in range(5) if (padded[:, i : i + 8, j : j + 6] == after).all()]
        assert len(moves) == 1
        seen.add(moves[0])
    assert len(seen) == 25


def test_about_half_of_the_images_are_mirrored_left_to_right() -> None:
    x = images(400)
    out = augment(x, Augmentation(flip=True), np.random.default_rng(1))
    mirrored = (out == x[..., ::-1]).all(axis=(1, 2, 3))
    kept = (out == x).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 150 < mirrored.sum() < 250


@pytest.mark.parametrize("side", [1, 3, 4])
def test_cutout_blanks_one_rectangle_in_all_channels(side: int) -> None:
    x = images(300)
    out = augment(x, Augmentation(cutout=side), np.random.default_rng(1))
    hidden = (out == 0).all(axis=1)
    np.testing.assert_array_equal(hidden, (out == 0).any(axis=1))
    rows, columns = hidden.any(axis=2), hidden.any(axis=1)
    np.testing.assert_array_equal(hidden, rows[:, :, None] & columns[:, None, :])
    np.testing.assert_array_equal(out[~hidden[:, None].repeat(3, 1)], x[~hidden[:, None].repeat(3, 1)])
    # Whole inside, cut at the edges, never away from the image; and every place is hit sometimes.
    assert rows.sum(axis=1).max() == columns.sum(axis=1).max() == side
    assert rows.sum(axis=1).min() >= 1 + (side - 1) // 2
    assert hidden.any(axis=0).all()


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 9), width=st.integers(1, 9), n=st.integers(0, 5),
    augmentation=st.builds(Augmentation, shift=st.integers(0, 12), flip=st.booleans(), cutout=st.integers(0, 12)),
)  # fmt: skip
def test_no_pixel_is_invented(height: int, width: int, n: int, augmentation: Augmentation) -> None:
    x = images(n, height, width)
    out = augment(x, augmentation, np.random.default_rng(0))
    assert out.shape == x.shape
    for before, after in zip(x, out, strict=True):
        assert set(np.unique(after)) <= {0, *np.unique(before)}


@pytest.mark.parametrize("wrong", [{"shift": -1}, {"cutout": -8}])
def test_negative_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        Augmentation(**wrong)


def test_a_loader_says_what_its_labels_survive_and_nothing_is_known_of_other_images() -> None:
    assert not digits().augmentation.flip and digits().augmentation.shift == 1
    x, y = images(8), np.arange(8, dtype=np.int32) % 2
    assert RawData(x, y, x, y, ("a", "b"), "mine").augmentation == Augmentation()
