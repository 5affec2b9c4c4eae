"""A prepared data set hands out the right images, normalised by its training part alone."""

import dataclasses

import numpy as np
import pytest

from nas.errors import InputError
from nas.tasks.image_classification.dataset import RawData
from nas.tasks.image_classification.prepared import Dataset, fit_preprocessing, prepare


def raw_data(float_images: bool = False) -> RawData:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2500, 2, 6, 4), np.uint8)
    x[:, 1] //= 4
    y = (np.arange(2500) % 5).astype(np.int32)
    if float_images:
        x = (x / 100 - 1).astype(np.float32)
    return RawData(x[:2400], y[:2400], x[2400:], y[2400:], tuple("abcde"), "random", 1.0 if float_images else 1 / 255)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return prepare(raw_data(), seed=0)


@pytest.mark.parametrize("size", [(6, 4), (3, 3), (9, 8)])
@pytest.mark.parametrize("float_images", [False, True])
def test_the_training_part_has_mean_0_and_deviation_1(float_images: bool, size: tuple[int, int]) -> None:
    data = prepare(raw_data(float_images), 0, size)
    train = data.images("train").astype(np.float64)
    assert train.shape == (len(data.splits.train), 2, *size)
    np.testing.assert_allclose(train.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_other_parts_have_no_say_in_the_preprocessing(data: Dataset) -> None:
    raw = raw_data()
    x = raw.train_x.copy()
    rest = np.setdiff1d(np.arange(len(x)), data.splits.train)
    x[rest] = 255 - x[rest]
    changed = dataclasses.replace(raw, train_x=x, test_x=255 - raw.test_x)
    assert fit_preprocessing(changed, data.splits.train) == data.preprocessing


def test_bytes_and_floats_of_equal_value_have_equal_moments(data: Dataset) -> None:
    raw = raw_data()
    floats = dataclasses.replace(raw, train_x=raw.train_x.astype(np.float32), test_x=raw.test_x.astype(np.float32))
    theirs = fit_preprocessing(floats, data.splits.train)
    np.testing.assert_allclose(theirs.mean, data.preprocessing.mean, rtol=1e-12)
    np.testing.assert_allclose(theirs.std, data.preprocessing.std, rtol=1e-12)


def test_images_and_labels_belong_together(data: Dataset) -> None:
    raw = data.raw
    for part in ("train", "arch", "val", "cert"):
        indices = getattr(data.splits, part)
        np.testing.assert_array_equal(data.labels(part), raw.train_y[indices])
        np.testing.assert_array_equal(data.raw_images(part), raw.train_x[indices])
        np.testing.assert_array_equal(data.images(part), data.preprocessing.apply(raw.train_x[indices]))
    np.testing.assert_array_equal(data.images("test"), data.preprocessing.apply(raw.test_x))
    np.testing.assert_array_equal(data.test_labels(), raw.test_y)


def test_test_labels_are_not_to_be_had_by_the_way(data: Dataset) -> None:
    with pytest.raises(KeyError):
        data.labels("test")


def test_what_is_handed_out_is_a_copy(data: Dataset) -> None:
    before = np.array(data.raw_images("val"))
    data.raw_images("val")[:][:] = 0
    np.testing.assert_array_equal(data.raw_images("val"), before)


def test_a_constant_channel_becomes_zero() -> None:
    raw = raw_data()
    x, test_x = raw.train_x.copy(), raw.test_x.copy()
    x[:, 1], test_x[:, 1] = 7, 7
    data = prepare(dataclasses.replace(raw, train_x=x, test_x=test_x), 0)
    np.testing.assert_allclose(data.images("test")[:, 1], 0, atol=1e-7)


def test_a_size_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"input size \(0, 4\)"):
        prepare(raw_data(), 0, (0, 4))


def rare(counts: tuple[int, ...], seed: int = 0) -> RawData:
    """So many images of each class, and the same shares of 100 test images."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    x = rng.integers(0, 256, (len(y), 1, 4, 4), np.uint8)
    test_y = np.repeat(np.arange(len(counts), dtype=np.int32), [100 * n // sum(counts) for n in counts])
    test_x = rng.integers(0, 256, (len(test_y), 1, 4, 4), np.uint8)
    return RawData(x, y, test_x, test_y, tuple("abcdefghij"[: len(counts)]), "rare")


def test_every_part_says_how_many_images_of_each_class_it_has() -> None:
    raw = rare((900, 300))
    data = prepare(raw, 0, aside=("cert",))
    counts = data.class_counts()
    assert counts["val"].tolist() == [225, 75] and counts["arch"].tolist() == [0, 0]
    assert sum(counts[part] for part in ("train", "val", "cert")).tolist() == [900, 300]
    assert counts["test"].tolist() == [75, 25] and data.notes == ()


@pytest.mark.parametrize(
    ("counts", "notes"),
    [
        ((1000, 1000), ()),
        (
            (1180, 20),
            ("the part test has fewer than 5 images of 1 of 2 classes ('b')",),
        ),
        (
            (1197, 2, 1),
            (
                "the part train has fewer than 5 images of 2 of 3 classes ('b', 'c')",
                "the part val has no image of 1 of 3 classes ('c') and fewer than 5 images of 1 of 3 classes ('b')",
                "the part test has no image of 2 of 3 classes ('b', 'c')",
            ),
        ),
        (
            (1184, 4, 4, 4, 4),
            (
                "the part train has fewer than 5 images of 4 of 5 classes ('b', 'c', 'd', ...)",
                "the part val has fewer than 5 images of 4 of 5 classes ('b', 'c', 'd', ...)",
                "the part test has no image of 4 of 5 classes ('b', 'c', 'd', ...)",
            ),
        ),
    ],
)
def test_classes_of_which_a_part_has_hardly_an_image_are_noted(counts: tuple[int, ...], notes: tuple[str, ...]) -> None:
    assert prepare(rare(counts), 0, aside=()).notes == notes
