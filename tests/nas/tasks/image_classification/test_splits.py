"""Splits are disjoint, complete, stratified, and a function of the seed and the pixels alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.tasks.image_classification.dataset import RawData
from nas.tasks.image_classification.fractions import OptionalPart, SplitFractions
from nas.tasks.image_classification.prepared import Labelled
from nas.tasks.image_classification.splits import Splits, limit_training, make_splits, split_off_test

PARTS: tuple[Labelled, ...] = ("train", "arch", "val", "cert")


def raw_data(n: int = 1200, classes: int = 4, seed: int = 0, copies: int = 1) -> RawData:
    """n random images, each `copies` times, and 20 test images."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n // copies, 1, 4, 4), np.uint8).repeat(copies, axis=0)
    y = (np.arange(len(x)) // copies % classes).astype(np.int32)
    test_x = rng.integers(0, 256, (20, 1, 4, 4), np.uint8)
    names = tuple(str(number) for number in range(classes))
    return RawData(x, y, test_x, (np.arange(20) % classes).astype(np.int32), names, "random")


def sets(splits: Splits) -> list[set[int]]:
    return [set(getattr(splits, part).tolist()) for part in PARTS]


def pixels(raw: RawData, indices: Any) -> set[bytes]:
    return {image.tobytes() for image in raw.train_x[indices]}


def test_parts_are_disjoint_and_complete() -> None:
    splits = make_splits(raw_data(), seed=7)
    assert sum(len(part) for part in sets(splits)) == 1200
    assert set.union(*sets(splits)) == set(range(1200))
    assert splits.test.tolist() == list(range(20))
    assert all((np.diff(getattr(splits, part)) > 0).all() for part in PARTS)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (60_000, {"val": 5_000, "cert": 2_500, "arch": 1_250}),
        (50_000, {"val": 5_000, "cert": 2_500, "arch": 1_250}),
        (10_000, {"val": 1_000, "cert": 500, "arch": 250}),
        (1_438, {"val": 300, "cert": 150, "arch": 75}),
        (400, {"val": 100, "cert": 50, "arch": 25}),
    ],
)
def test_default_sizes(n: int, expected: dict[str, int]) -> None:
    assert SplitFractions().counts(n) == expected


def test_parts_have_the_sizes_asked_for() -> None:
    splits = make_splits(raw_data(), 0, SplitFractions(val=0.2, cert=0.05, arch=0.1))
    assert [len(getattr(splits, part)) for part in PARTS] == [780, 120, 240, 60]


def test_a_part_nobody_needs_is_empty() -> None:
    splits = make_splits(raw_data(), 0, SplitFractions(arch=0))
    assert len(splits.arch) == 0
    assert len(splits.cert) == 150


@pytest.mark.parametrize("aside", [(), ("arch",), ("cert",), ("cert", "arch")])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_part_given_to_training_changes_no_other_part(aside: tuple[OptionalPart, ...], copies: int) -> None:
    raw = raw_data(copies=copies)
    whole, some = make_splits(raw, 5), make_splits(raw, 5, aside=aside)
    given: set[int] = set()
    for part in ("val", "test", "cert", "arch"):
        if part in ("val", "test", *aside):
            assert whole.hashes[part] == some.hashes[part]
            assert whole.fingerprints[part].tolist() == some.fingerprints[part].tolist()
        else:
            assert len(getattr(some, part)) == 0 == some.record()[part]["images"]
            given |= set(getattr(whole, part).tolist())
    assert set(some.train.tolist()) == set(whole.train.tolist()) | given
    assert (np.diff(some.train) > 0).all() and len(some.fingerprints["train"]) == len(some.train)


@pytest.mark.parametrize(
    ("fractions", "read", "aside"),
    [
        ({}, (), set()),
        ({}, ("arch",), {"arch"}),
        ({"reserve": ("cert",)}, (), {"cert"}),
        ({"reserve": ("cert", "arch")}, ("arch",), {"cert", "arch"}),
        ({"cert": 0.1}, (), {"cert"}),
        ({"cert": 0, "arch": 0}, (), set()),
    ],
)
def test_a_part_is_kept_aside_where_it_is_read_or_asked_for(
    fractions: dict[str, Any], read: tuple[OptionalPart, ...], aside: set[str]
) -> None:
    assert SplitFractions(**fractions).aside(read) == aside


def test_few_images_are_enough_where_nobody_reads_the_smallest_part() -> None:
    assert len(make_splits(raw_data(12), 0, aside=()).val) == 3


def test_equal_seeds_give_equal_splits_and_hashes_and_others_do_not() -> None:
    first, again, other = (make_splits(raw_data(), seed) for seed in (3, 3, 4))
    assert sets(first) == sets(again)
    assert first.record() == again.record()
    assert all(first.hashes[part] != other.hashes[part] for part in PARTS)
    assert first.hashes["test"] == other.hashes["test"]


def test_splits_do_not_change_between_versions() -> None:
    """A run that is resumed, or compared with a published one, must find the same images in the same part."""
    x = np.arange(1200 * 16, dtype="<u4").view(np.uint8)[: 1200 * 16].reshape(1200, 1, 4, 4)
    y = (np.arange(1200) % 4).astype(np.int32)
    raw = RawData(x, y, 255 - x[:1], y[:1], ("a", "b", "c", "d"), "counted")
    splits = make_splits(raw, seed=1)
    assert splits.cert[:5].tolist() == [0, 1, 2, 18, 29]
    assert splits.hashes["val"] == "13b9a4038618998cdc2553be5a5d077eca45ad6a06c0b1d47ad485d4c0b558aa"


def test_hashes_see_pixels_and_labels() -> None:
    raw = raw_data()
    before = make_splits(raw, 0)
    labels = RawData(raw.train_x, raw.train_y, raw.test_x, 3 - raw.test_y, raw.class_names, raw.name)
    pixels = RawData(raw.train_x, raw.train_y, 255 - raw.test_x, raw.test_y, raw.class_names, raw.name)
    for changed in (labels, pixels):
        after = make_splits(changed, 0)
        assert after.hashes["test"] != before.hashes["test"]
        assert [after.hashes[part] for part in PARTS] == [before.hashes[part] for part in PARTS]


@pytest.mark.parametrize("contradictory", [False, True])
def test_an_image_keeps_its_part_when_the_file_is_reordered(contradictory: bool) -> None:
    raw = raw_data(copies=2) if contradictory else raw_data()
    if contradictory:
        y = np.where(np.arange(1200) % 2, (raw.train_y + 1) % 4, raw.train_y).astype(np.int32)
        raw = RawData(raw.train_x, y, raw.test_x, raw.test_y, raw.class_names, raw.name)
    order = np.random.default_rng(5).permutation(len(raw.train_y))
    shuffled = RawData(raw.train_x[order], raw.train_y[order], raw.test_x, raw.test_y, raw.class_names, raw.name)
    first, second = make_splits(raw, 0), make_splits(shuffled, 0)
    for part in PARTS:
        assert pixels(raw, getattr(first, part)) == pixels(shuffled, getattr(second, part))


def test_every_part_has_the_classes_in_proportion() -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(3, size=2000, p=(0.7, 0.25, 0.05)).astype(np.int32)
    x = rng.integers(0, 256, (2000, 1, 4, 4), np.uint8)
    raw = RawData(x, y, 255 - x[:3], y[:3], ("a", "b", "c"), "skewed")
    splits = make_splits(raw, 0)
    share = np.bincount(y) / len(y)
    for part in PARTS:
        indices = getattr(splits, part)
        assert np.abs(np.bincount(y[indices], minlength=3) - share * len(indices)).max() <= 2


@pytest.mark.parametrize("copies", [2, 5])
def test_identical_images_share_a_part(copies: int) -> None:
    raw = raw_data(copies=copies)
    order = np.random.default_rng(1).permutation(len(raw.train_y))
    raw = RawData(raw.train_x[order], raw.train_y[order], raw.test_x, raw.test_y, raw.class_names, raw.name)
    splits = make_splits(raw, 0)
    contents = [pixels(raw, getattr(splits, part)) for part in PARTS]
    assert sum(len(content) for content in contents) == len(set.union(*contents)) == 1200 // copies
    # Groups are indivisible, so a part may be off by less than one group per class.
    assert abs(len(splits.val) - 300) < 4 * copies


def test_identical_images_with_different_labels_share_a_part() -> None:
    raw = raw_data(copies=2)
    y = np.where(np.arange(1200) % 2, (raw.train_y + 1) % 4, raw.train_y).astype(np.int32)
    raw = RawData(raw.train_x, y, raw.test_x, raw.test_y, raw.class_names, raw.name)
    splits = make_splits(raw, 0)
    contents = [pixels(raw, getattr(splits, part)) for part in PARTS]
    assert sum(len(content) for content in contents) == 600


def test_training_images_of_the_test_part_are_left_out() -> None:
    raw = raw_data()
    leaked = np.array([5, 17, 600])
    raw = RawData(raw.train_x, raw.train_y, raw.train_x[leaked], raw.train_y[leaked], raw.class_names, raw.name)
    splits = make_splits(raw, 0)
    assert splits.left_out == splits.record()["left_out"] == 3
    assert set.union(*sets(splits)) | {5, 17, 600} == set(range(1200))
    assert not set.union(*sets(splits)) & {5, 17, 600}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"val": -0.1}, "val is -0.1"),
        ({"cert": 1.0}, "cert is 1.0"),
        ({"arch": float("nan")}, "arch is nan"),
        ({"cert": 0, "reserve": ("cert",)}, "reserve keeps cert aside and cert: 0 leaves it empty"),
    ],
)
def test_impossible_fractions_are_refused(fractions: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SplitFractions(**fractions)


def test_fractions_must_leave_something_to_train_on() -> None:
    with pytest.raises(InputError, match="val 60, cert 30 and arch 15 of 100 images"):
        SplitFractions(val=0.6).counts(100)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"random: 12 training images .* too few for the part 'arch'"):
        make_splits(raw_data(12), 0)


def test_a_class_that_stands_in_the_test_part_only_is_refused() -> None:
    raw = raw_data()
    last = raw.train_y == 3
    raw = RawData(raw.train_x, raw.train_y, raw.train_x[last], raw.train_y[last], raw.class_names, raw.name)
    with pytest.raises(InputError, match="class '3' has no image left to train on"):
        make_splits(raw, 0)


def test_the_split_off_test_part_is_a_stratified_fifth() -> None:
    raw = raw_data()
    train_x, train_y, test_x, test_y = split_off_test(raw.train_x, raw.train_y)
    assert (len(train_x), len(train_y), len(test_x), len(test_y)) == (960, 960, 240, 240)
    assert np.bincount(test_y).tolist() == [60, 60, 60, 60]
    train, test = ({image.tobytes() for image in part} for part in (train_x, test_x))
    assert not train & test
    label = {image.tobytes(): int(y) for image, y in zip(raw.train_x, raw.train_y, strict=True)}
    assert [label[image.tobytes()] for image in test_x] == test_y.tolist()


@pytest.mark.parametrize("limit", [4, 5, 100, 1199, 1200])
def test_limit_keeps_exactly_so_many_and_every_class(limit: int) -> None:
    raw = raw_data()
    x, y = limit_training(raw.train_x, raw.train_y, limit, "here")
    assert len(x) == len(y) == limit
    counts = np.bincount(y, minlength=4)
    assert counts.max() - counts.min() <= 1


def test_limit_is_exact_when_classes_are_skewed() -> None:
    """Eight rare classes keep one image each, more than their share, so the common one gives up several."""
    y = np.repeat(np.arange(9, dtype=np.int32), [1000, *[5] * 8])
    x = np.random.default_rng(0).integers(0, 256, (1040, 1, 4, 4), np.uint8)
    _, kept = limit_training(x, y, 12, "here")
    assert np.bincount(kept).tolist() == [4, *[1] * 8]


@pytest.mark.parametrize("limit", [-1, 0, 3, 1201])
def test_impossible_limits_are_refused(limit: int) -> None:
    raw = raw_data()
    with pytest.raises(InputError, match=f"here: limit {limit}; it must be from 4 .* to 1200"):
        limit_training(raw.train_x, raw.train_y, limit, "here")


@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=60, max_size=200),
    kinds=st.integers(20, 10_000),
    val=st.floats(0.05, 0.4),
    seed=st.integers(0, 2**63 - 1),
)
def test_whatever_the_data_parts_are_disjoint_and_every_class_is_trained(
    labels: list[int], kinds: int, val: float, seed: int
) -> None:
    """Few `kinds` of images make many duplicates, also with contradicting labels."""
    y = np.array([0, 1, 2, 3, *labels], np.int32)
    value = np.random.default_rng(seed).integers(0, kinds, len(y)).astype(np.uint32)
    value[:4] = [20_000, 20_001, 20_002, 20_003]
    x = value.view(np.uint8).reshape(-1, 1, 2, 2)
    raw = RawData(x, y, np.full((1, 1, 2, 2), 255, np.uint8), y[:1], ("a", "b", "c", "d"), "any")
    splits = make_splits(raw, seed, SplitFractions(val=val, cert=0, arch=0))
    assert sum(len(part) for part in sets(splits)) == len(set.union(*sets(splits))) == len(y)
    contents = [pixels(raw, getattr(splits, part)) for part in PARTS]
    assert sum(len(content) for content in contents) == len(set.union(*contents))
    assert set(y[splits.train].tolist()) == {0, 1, 2, 3}
