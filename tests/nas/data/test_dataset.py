"""RawData refuses what doesn't fit together, with the offending value in the message."""

from typing import Any

import numpy as np
import pytest

from nas.errors import InputError
from nas.tasks.image_classification.dataset import RawData


def parts(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "train_x": np.zeros((4, 3, 5, 6), np.uint8),
        "train_y": np.array([0, 1, 0, 1], np.int32),
        "test_x": np.zeros((2, 3, 5, 6), np.uint8),
        "test_y": np.array([1, 1], np.int32),
        "class_names": ("cat", "dog"),
        "name": "mine",
    }
    return {**good, **changes}


def with_nan() -> Any:
    x = np.zeros((4, 3, 5, 6), np.float32)
    x[2, 1, 4, 5] = np.nan
    x[3, 0, 0, 0] = np.inf
    x[3, 0, 0, 1] = -np.inf
    return x


def test_good_parts_are_kept() -> None:
    assert RawData(**parts()).image_shape == (3, 5, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_x": np.zeros((4, 3, 5, 6), np.int16)}, "train images: type int16"),
        ({"train_x": np.zeros((4, 3, 5), np.uint8)}, r"train images: shape \[4, 3, 5\]"),
        ({"test_x": np.zeros((0, 3, 5, 6), np.uint8)}, r"test images: shape \[0, 3, 5, 6\]"),
        (
            {"train_x": with_nan()},
            "3 values in 2 images are NaN or infinite, the first at image 2, channel 1, row 4, col",
        ),
        ({"train_y": np.array([0, 1, 0, 1])}, r"train labels: int64 \[4\]; expected one int32"),
        ({"train_y": np.array([0, 1, 0], np.int32)}, "3 labels for 4 images"),
        ({"train_y": np.array([0, 1, 2, 1], np.int32)}, r"1 labels lie outside 0..1, the first is 2 at position 2"),
        ({"test_y": np.array([-1, 1], np.int32)}, r"test labels: 1 labels lie outside 0..1, the first is -1"),
        ({"train_y": np.array([1, 1, 1, 1], np.int32)}, r"1 of 2 classes have no training image, the first is 'cat'"),
        ({"test_x": np.zeros((2, 3, 6, 6), np.uint8)}, r"\[3, 5, 6\] and test images uint8 \[3, 6, 6\]"),
        ({"test_x": np.zeros((2, 3, 5, 6), np.float32)}, "uint8 .* and test images float32"),
        ({"class_names": ("cat",)}, "at least two"),
        ({"class_names": ("cat", "cat")}, "'cat' occurs more than once"),
    ],
)
def test_bad_parts_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RawData(**parts(**changes))
