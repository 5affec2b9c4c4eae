"""The digits are scikit-learn's, without importing it."""

import importlib.machinery
import importlib.util

import numpy as np
import pytest

from nas.errors import InputError
from nas.tasks.image_classification.digits import digits


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    ours = digits()
    assert (len(ours.train_x), len(ours.test_x), ours.scale) == (1438, 359, 1 / 16)
    assert ours.train_x.dtype == np.uint8
    expected = {
        image.astype(np.uint8).tobytes(): label for image, label in zip(theirs.images, theirs.target, strict=True)
    }
    found = {
        image.tobytes(): label
        for image, label in zip(
            np.concatenate([ours.train_x, ours.test_x]), np.concatenate([ours.train_y, ours.test_y]), strict=True
        )
    }
    assert found == expected
    assert len(expected) == 1797
    assert theirs.images.max() == 16


def test_the_test_part_is_the_same_every_time_and_stratified() -> None:
    first, again = digits(), digits()
    np.testing.assert_array_equal(first.test_x, again.test_x)
    counts = np.bincount(first.test_y)
    assert counts.min() >= 34
    assert counts.max() <= 38


def test_a_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install scikit-learn"):
        digits()


def test_a_scikit_learn_without_the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    spec = importlib.machinery.ModuleSpec("sklearn", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=r"digits\.csv\.gz is missing"):
        digits()
