"""IDX files: exact when good, one clear message when not."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import InputError
from nas.tasks.image_classification.fashion_mnist import CLASS_NAMES, DEBIAN_FOLDER, fashion_mnist

TRAIN_X, TRAIN_Y = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_X, TEST_Y = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 5, 4), np.uint8)
Y = (np.arange(40) % 10).astype(np.uint8)


def idx(array: Any, code: int = 8) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + bytes(array.tobytes())


def write(folder: Path, zipped: bool = False, **files: bytes) -> str:
    contents = {TRAIN_X: idx(X), TRAIN_Y: idx(Y), TEST_X: idx(X[:10] ^ 255), TEST_Y: idx(Y[:10])}
    contents |= {name.replace("_", "-"): content for name, content in files.items()}
    for name, content in contents.items():
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
    return str(folder)


@pytest.mark.parametrize("zipped", [False, True])
def test_what_was_written_is_read(tmp_path: Path, zipped: bool) -> None:
    raw = fashion_mnist(write(tmp_path, zipped))
    np.testing.assert_array_equal(raw.train_x, X[:, None])
    np.testing.assert_array_equal(raw.train_y, Y)
    np.testing.assert_array_equal(raw.test_x, X[:10, None] ^ 255)
    np.testing.assert_array_equal(raw.test_y, Y[:10])
    assert raw.train_x.dtype == np.uint8
    assert raw.train_y.dtype == np.int32
    assert raw.scale == 1 / 255


def test_limit_takes_the_same_from_every_class(tmp_path: Path) -> None:
    raw = fashion_mnist(write(tmp_path), limit=20)
    assert np.bincount(raw.train_y).tolist() == [2] * 10
    assert len(raw.test_x) == 10


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            TRAIN_X,
            idx(X)[:-1],
            r"train-images-idx3-ubyte: the header says 40 x 5 x 4 = 800 values, .* 799; it is trunc",
        ),
        (TRAIN_X, idx(X) + b"\0", "the file holds 801"),
        (TRAIN_X, b"", "starts with nothing"),
        (TRAIN_X, b"\0\0\x08\x03\0\0", "6 bytes end inside the header of 16"),
        (TRAIN_X, idx(Y), "starts with 00 00 08 01, .* with 00 00 08 03"),
        (TRAIN_X, idx(X, code=13), "starts with 00 00 0d 03"),
        (TRAIN_X, b"<!DOCTYPE html>", "starts with 3c 21 44 4f"),
        (TRAIN_X, struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 4), f"= {2**64} values, the file holds 0"),
        (TRAIN_X, idx(X[:0]), "holds no pixels"),
        (TRAIN_Y, idx(Y[:39]), r"train-labels-idx1-ubyte: 39 labels for 40 images"),
        (
            TRAIN_Y,
            idx(np.where(Y == 9, 10, Y).astype(np.uint8)),
            r"labels lie outside 0..9, the first is 10 at position 9",
        ),
        (TEST_Y, idx(Y[:9]), r"t10k-labels-idx1-ubyte: 9 labels for 10 images"),
        (TEST_X, idx(X[:10, :4]), r"\[1, 5, 4\] and test images uint8 \[1, 4, 4\]"),
        (TRAIN_Y, idx(np.zeros(40, np.uint8)), "9 of 10 classes have no training image"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_bad_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str, zipped: bool) -> None:
    path = write(tmp_path, zipped, **{name.replace("-", "_"): content})
    message = message.replace("ubyte:", r"ubyte(\.gz)?:")
    with pytest.raises(InputError, match=message):
        fashion_mnist(path)


@pytest.mark.parametrize("damage", ["truncated", "checksum", "garbage"])
def test_damaged_gzip_is_refused(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path, zipped=True)
    file = tmp_path / f"{TRAIN_X}.gz"
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "checksum":
        content[-6] ^= 255
    else:
        content[12:60] = bytes(48)
    file.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: the gzip data is truncated or damaged"):
        fashion_mnist(path)


def test_a_missing_file_or_folder_says_where_to_get_it(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / TEST_Y).unlink()
    with pytest.raises(
        InputError, match=r"t10k-labels-idx1-ubyte\.gz: no such file. .*apt install dataset-fashion-mnist"
    ):
        fashion_mnist(path)
    with pytest.raises(InputError, match=r"nowhere: does not exist. .*apt install dataset-fashion-mnist"):
        fashion_mnist(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="is a file, not a folder"):
        fashion_mnist(str(tmp_path / TRAIN_X))


@pytest.mark.skipif(not Path(DEBIAN_FOLDER).is_dir(), reason="needs the Debian package dataset-fashion-mnist")
def test_debians_package_is_the_published_set() -> None:
    raw = fashion_mnist()
    assert raw.train_x.shape == (60_000, 1, 28, 28)
    assert raw.test_x.shape == (10_000, 1, 28, 28)
    assert np.bincount(raw.train_y).tolist() == [6_000] * 10
    assert np.bincount(raw.test_y).tolist() == [1_000] * 10
    assert raw.class_names == CLASS_NAMES
    # The customary normalisation constants of Fashion-MNIST.
    assert raw.train_x.mean(dtype=np.float64) / 255 == pytest.approx(0.2860, abs=1e-4)
    assert raw.train_x.std(dtype=np.float64) / 255 == pytest.approx(0.3530, abs=1e-4)
