"""Arrays in an .npz: read exactly, or refused with what is wrong and where."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import InputError
from nas.tasks.image_classification.files import existing_folder
from nas.tasks.image_classification.npz import npz
from nas.tasks.image_classification.source import View

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 3, 5, 6), np.uint8)
Y = np.arange(40) % 4


def save(folder: Path, **arrays: Any) -> str:
    given = {"x_train": X, "y_train": Y, "x_test": X[:8] ^ 255, "y_test": Y[:8], **arrays}
    file = folder / "mine.npz"
    np.savez_compressed(file, **{key: value for key, value in given.items() if value is not None})
    return str(file)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    raw = npz(save(tmp_path, class_names=np.array(["a", "b", "c", "d"])))
    np.testing.assert_array_equal(raw.train_x, X)
    np.testing.assert_array_equal(raw.train_y, Y)
    np.testing.assert_array_equal(raw.test_x, X[:8] ^ 255)
    assert (raw.class_names, raw.scale, raw.notes) == (("a", "b", "c", "d"), 1 / 255, ())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_kept_in_their_units(tmp_path: Path, dtype: Any) -> None:
    x = RNG.standard_normal((40, 1, 5, 6)).astype(dtype)
    raw = npz(save(tmp_path, x_train=x, x_test=x[:8] + 1))
    assert raw.train_x.dtype == np.float32
    assert raw.scale == 1.0
    np.testing.assert_array_equal(raw.train_x, x.astype(np.float32))


def test_grey_images_need_no_channel_and_wide_integers_no_cast(tmp_path: Path) -> None:
    raw = npz(save(tmp_path, x_train=X[:, 0].astype(np.int64), x_test=X[:8, 0].astype(np.int32) ^ 255))
    np.testing.assert_array_equal(raw.train_x, X[:, :1])
    assert raw.train_x.dtype == np.uint8


def test_without_a_test_part_a_fifth_is_split_off_and_classes_are_numbers(tmp_path: Path) -> None:
    raw = npz(save(tmp_path, x_test=None, y_test=None))
    assert (len(raw.train_x), len(raw.test_x)) == (32, 8)
    assert raw.class_names == ("0", "1", "2", "3")


def test_copies_of_one_image_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="40 images, 1 of them different, are too few"):
        npz(save(tmp_path, x_train=np.zeros_like(X), x_test=None, y_test=None))


def test_unused_arrays_are_noted(tmp_path: Path) -> None:
    assert npz(save(tmp_path, extra=np.zeros(3))).notes == ("mine.npz: extra are not used",)


def nan_at(image: int, channel: int, row: int, column: int, value: float = np.nan) -> Any:
    x = np.zeros((40, 3, 5, 6), np.float32)
    x[image, channel, row, column] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x_train": nan_at(5, 2, 3, 4)},
            "x_train: 1 values in 1 images are NaN or infinite, .* image 5, channel 2, row 3",
        ),
        ({"x_train": nan_at(0, 0, 0, 0, np.inf)}, "x_train: 1 values .* image 0"),
        ({"x_train": np.full((40, 3, 5, 6), 1e300)}, "x_train: 3600 values in 40 images"),
        ({"x_test": nan_at(6, 1, 0, 1)[:8]}, "x_test: 1 values in 1 images"),
        ({"x_train": X.astype(np.int32) * 2}, r"x_train: integers from 0 to \d+; 8-bit images are 0 to 255"),
        ({"x_train": X.astype(np.int16) - 1}, "x_train: integers from -1"),
        ({"x_train": X.reshape(40, -1)}, r"x_train: shape \[40, 90\]"),
        ({"x_train": X.transpose(0, 2, 3, 1)}, r"x_train: shape \[40, 5, 6, 3\] has its channels last"),
        ({"x_train": X[:0]}, r"x_train: shape \[0, 3, 5, 6\]"),
        ({"x_train": X > 100}, "x_train: type bool"),
        ({"x_train": X.astype(np.complex64)}, "x_train: type complex64"),
        ({"x_train": X.astype(object)}, "no .npz of plain arrays.*allow_pickle=False"),
        ({"y_train": np.array([None] * 40)}, "no .npz of plain arrays.*allow_pickle=False"),
        ({"y_train": Y.astype(float)}, r"y_train: float64 \[40\]; give one integer per image"),
        ({"y_train": np.eye(4, dtype=int)[Y]}, r"y_train: int64 \[40, 4\]"),
        ({"y_train": Y[:39]}, "y_train has 39 labels, x_train 40 images"),
        ({"y_test": Y[:9]}, "test labels: 9 labels for 8 images"),
        ({"y_train": Y - 1}, "y_train: class numbers run from -1 to 2"),
        ({"y_train": np.where(Y == 3, 2**40, Y)}, "y_train: class numbers run from 0 to 1099511627776"),
        ({"y_train": np.where(Y == 3, 4, Y)}, r"1 of 5 classes have no training image, the first is '3'"),
        ({"y_test": Y[:8] + 1}, r"test labels: 2 labels lie outside 0..3, the first is 4"),
        ({"y_train": Y * 0, "y_test": Y[:8] * 0}, "at least two"),
        ({"class_names": np.array(["a", "b", "c"])}, r"labels lie outside 0..2"),
        ({"class_names": np.array(["a", "a", "b", "c"])}, "'a' occurs more than once"),
        ({"class_names": np.arange(4)}, "class_names is int64"),
        ({"class_names": np.array([], "U1")}, "0 class"),
        ({"y_test": None}, "lacks y_test; it holds x_train, y_train, x_test"),
        ({"x_test": None}, "lacks x_test"),
        ({"x_test": None, "y_test": None, "X_test": X[:8]}, "holds X_test, which is not used; write x_test"),
        ({"x_train": None, "x-train": X}, "holds x-train, which is not used; write x_train"),
        ({"x_train": None, "X": X}, "lacks x_train; it holds y_train, x_test, y_test, X"),
        ({"x_test": X[:8, :, :4]}, r"\[3, 5, 6\] and test images uint8 \[3, 4, 6\]"),
        ({"x_test": X[:8].astype(np.float32)}, "uint8 .* and test images float32"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        npz(save(tmp_path, **arrays))


def test_no_pickle_in_it_is_ever_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Attack:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    with pytest.raises(InputError, match="allow_pickle=False"):
        npz(save(tmp_path, y_train=np.array([Attack()] * 40, object)))
    assert not marker.exists()


@pytest.mark.parametrize("damage", ["truncated", "middle", "text", "empty", "array", "newer zip"])
def test_damaged_files_are_refused(tmp_path: Path, damage: str) -> None:
    file = Path(save(tmp_path))
    content = file.read_bytes()
    if damage == "array":
        with file.open("wb") as out:
            np.save(out, X)
    else:
        middle = content[:500] + bytes(200) + content[700:]
        changed = {"truncated": content[: len(content) // 2], "middle": middle, "text": b"x,y\n1,2\n", "empty": b""}
        place = content.index(b"PK\x01\x02") + 6
        changed["newer zip"] = content[:place] + b"\xc8" + content[place + 1 :]
        file.write_bytes(changed[damage])
    with pytest.raises(InputError, match=r"mine\.npz: is (no \.npz|a single array)"):
        npz(str(file))


def test_a_missing_file_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.npz: no such file. Expected np\.savez"):
        npz(str(tmp_path / "nowhere.npz"))
    with pytest.raises(InputError, match="lacks x_train and y_train; it holds nothing"):
        npz(str(tmp_path))


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    np.testing.assert_array_equal(npz("~/mine.npz").train_x, X)
    assert existing_folder("~", "") == tmp_path


def test_arrays_of_a_folder_stay_on_disk(tmp_path: Path) -> None:
    arrays = {"x_train": X, "y_train": Y, "x_test": X[:8] ^ 255, "y_test": Y[:8], "class_names": np.array(list("abcd"))}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    raw, packed = npz(str(tmp_path)), npz(save(tmp_path, class_names=arrays["class_names"]))
    assert isinstance(raw.train_x, np.memmap) and np.array_equal(raw.train_x, packed.train_x)
    assert raw.class_names == packed.class_names and np.array_equal(raw.test_y, packed.test_y)
    for name in ("x_test", "y_test"):
        (tmp_path / f"{name}.npy").unlink()
    split = npz(str(tmp_path))
    assert isinstance(split.train_x, View) and (len(split.train_x), len(split.test_x)) == (32, 8)


def test_folders_without_arrays_or_with_damaged_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks x_train and y_train; it holds nothing"):
        npz(str(tmp_path))
    (tmp_path / "x_train.npy").write_bytes(b"\x93NUMPY and then nothing")
    with pytest.raises(InputError, match="holds a file that is no plain array, or a damaged one"):
        npz(str(tmp_path))


def test_floats_of_a_folder_stay_on_disk_and_what_has_to_be_converted_does_not(tmp_path: Path) -> None:
    for name, dtype in (("x_train", np.float32), ("x_test", np.float64)):
        np.save(tmp_path / f"{name}.npy", X[: 8 if name == "x_test" else None].astype(dtype))
    np.save(tmp_path / "y_train.npy", Y)
    np.save(tmp_path / "y_test.npy", Y[:8])
    np.save(tmp_path / "ids.npy", np.array([{}, None], object), allow_pickle=True)
    raw = npz(str(tmp_path))
    assert isinstance(raw.train_x, np.memmap) and type(raw.test_x) is np.ndarray
    assert raw.notes == (f"{tmp_path.name}: ids are not used",)
    save(tmp_path)
    (tmp_path / "mine.npz").rename(tmp_path / "x_train.npy")
    with pytest.raises(InputError, match="holds a file that is no plain array"):
        npz(str(tmp_path))
