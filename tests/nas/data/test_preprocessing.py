"""The record does what the formula says, survives JSON, and its file runs where numpy is all there is."""

import ast
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nas.tasks.image_classification.preprocessing
from nas.tasks.image_classification.preprocessing import Preprocessing, resize


def record(**changes: Any) -> Preprocessing:
    fields: dict[str, Any] = {
        "size": (5, 6),
        "channels": 3,
        "mean": (0.1, 0.2, 1 / 3),
        "std": (0.5, 0.25, 0.7),
        "scale": 1 / 255,
        "class_names": ("cat", "dog"),
    }
    return Preprocessing(**{**fields, **changes})


def random_images(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_apply_is_the_formula() -> None:
    x = random_images(7, 3, 5, 6)
    out = record().apply(x)
    assert out.dtype == np.float32
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.25), (1 / 3, 0.7)]):
        np.testing.assert_allclose(out[:, channel], (x[:, channel] / 255 - mean) / std, atol=2e-6)


def test_floats_and_bytes_of_equal_value_become_the_same() -> None:
    x = random_images(7, 3, 5, 6)
    for dtype in (np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(record().apply(x), record().apply(x.astype(dtype)))


def test_an_image_does_not_depend_on_its_batch_and_is_not_changed() -> None:
    x = random_images(7, 3, 13, 9)
    before = x.copy()
    together = record().apply(x)
    np.testing.assert_array_equal(together[3:4], record().apply(x[3:4]))
    np.testing.assert_array_equal(x, before)
    floats = np.ones((1, 3, 5, 6), np.float32)
    record().apply(floats)
    assert (floats == 1).all()


def test_the_record_survives_json_exactly() -> None:
    again = Preprocessing.from_dict(json.loads(json.dumps(record().to_dict())))
    assert again == record()
    np.testing.assert_array_equal(again.apply(random_images(2, 3, 5, 6)), record().apply(random_images(2, 3, 5, 6)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 1, 5, 6), np.uint8), r"\(2, 1, 5, 6\); this network takes \[n, 3,"),
        (np.zeros((2, 5, 6, 3), np.uint8), r"batch and channels first"),
        (np.zeros((3, 5, 6), np.uint8), r"\(3, 5, 6\)"),
        (np.zeros((2, 3, 5, 6), np.int64), "images are int64"),
        (np.zeros((2, 3, 5, 6), np.bool_), "images are bool"),
    ],
)
def test_unsuitable_images_are_refused(images: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        record().apply(images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (0, 6)}, "is no image"),
        ({"channels": 2}, "3 means and 3 standard deviations for 2 channels"),
        ({"std": (0.5, 0.0, 0.7)}, "std and scale positive"),
        ({"mean": (0.1, float("nan"), 0.3)}, "must be finite"),
        ({"scale": -1.0}, "std and scale positive"),
    ],
)
def test_a_senseless_record_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        record(**changes)


def test_an_unknown_schema_or_a_missing_field_is_named() -> None:
    with pytest.raises(ValueError, match="schema 2 is unknown"):
        Preprocessing.from_dict({**record().to_dict(), "schema": 2})
    without = {key: value for key, value in record().to_dict().items() if key not in ("std", "scale")}
    with pytest.raises(ValueError, match="lacks std, scale"):
        Preprocessing.from_dict(without)


@pytest.mark.parametrize("size", [(8, 8), (20, 20), (32, 16), (7, 13), (5, 7), (64, 64), (1, 1)])
@pytest.mark.parametrize("source", [(32, 32), (37, 23), (15, 40)])
def test_resizing_is_pillows(source: tuple[int, int], size: tuple[int, int]) -> None:
    """Pillow rounds after each of its two passes, so one grey level apart is agreement."""
    from PIL import Image

    x = random_images(1, 3, *source)
    height = min(source[0], max(1, int(source[1] * size[0] / size[1] + 0.5)))
    width = min(source[1], max(1, int(source[0] * size[1] / size[0] + 0.5)))
    top, left = (source[0] - height) // 2, (source[1] - width) // 2
    picture = Image.fromarray(x[0].transpose(1, 2, 0)).crop((left, top, left + width, top + height))
    theirs = np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    ours = resize(x, size)
    assert ours.dtype == np.uint8
    assert np.abs(ours[0].astype(int) - theirs).max() <= 1


def test_resizing_crops_the_centre_to_the_aspect_ratio() -> None:
    x = np.zeros((1, 1, 4, 10), np.uint8)
    x[..., 3:7] = 200
    np.testing.assert_array_equal(resize(x, (2, 2)), np.full((1, 1, 2, 2), 200))
    np.testing.assert_array_equal(resize(x.swapaxes(2, 3), (2, 2)), np.full((1, 1, 2, 2), 200))


def test_halving_averages_with_the_triangle() -> None:
    # Step 2, triangle of half-width 2 around 1.0 and 3.0: weights (3, 3, 1) / 7 at the edge.
    x = np.array([0.0, 7.0, 14.0, 21.0], np.float32).reshape(1, 1, 1, 4).repeat(4, axis=2)
    np.testing.assert_allclose(resize(x, (2, 2))[0, 0, 0], [5.0, 16.0], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    source=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    value=st.integers(0, 255),
)
def test_a_flat_image_stays_flat(source: tuple[int, int], size: tuple[int, int], value: int) -> None:
    out = resize(np.full((2, 1, *source), value, np.uint8), size)
    np.testing.assert_array_equal(out, np.full((2, 1, *size), value, np.uint8))


def test_the_file_stands_alone_on_python_3_8() -> None:
    source = Path(nas.tasks.image_classification.preprocessing.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    guarded = {id(node) for block in ast.walk(tree) if isinstance(block, ast.If) for node in ast.walk(block)}
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in guarded:
            assert not node.level
            imported.add(node.module)
        elif isinstance(node, ast.Import) and id(node) not in guarded:
            imported |= {alias.name for alias in node.names}
    assert imported - set(sys.stdlib_module_names) == {"numpy"}
    # Annotations such as tuple[int, int] are only read, never evaluated.
    assert "from __future__ import annotations" in source
