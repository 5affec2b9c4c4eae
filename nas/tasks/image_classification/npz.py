"""Arrays of your own in one .npz file, or in a folder of .npy files."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from latency_models.arrays import DAMAGED, array_names, read_arrays
from nas.errors import InputError
from nas.tasks.image_classification.dataset import Labels, RawData, check_images
from nas.tasks.image_classification.files import expanded
from nas.tasks.image_classification.source import Images, Source
from nas.tasks.image_classification.splits import split_off_test

EXPECTED = (
    "Expected np.savez(path, x_train=..., y_train=...), or a folder of such .npy, with x [n, channels, height, width] "
    "(or [n, height, width]) of uint8 or floats and y [n] of class numbers from 0; x_test, y_test and class_names are "
    "optional"
)
KEYS = ("x_train", "y_train", "x_test", "y_test", "class_names")


def npz(path: str) -> RawData:
    """Arrays x_train, y_train and optionally x_test, y_test, class_names from an .npz file or a folder of .npy files.

    Those of a folder stay on disk and are read when needed, if they are uint8 or float32. Images are
    [n, channels, height, width] or [n, height, width]: integers 0 to 255, which the network gets divided by 255, or
    floats in their own units. Without a test part a fifth is split off.
    """
    file = expanded(path)
    arrays, unused = _arrays(file)
    nearly = [name for name in unused if name.casefold().replace("-", "_") in KEYS]
    if nearly:
        raise InputError(
            f"{file}: holds {nearly[0]}, which is not used; write {nearly[0].casefold().replace('-', '_')}"
        )
    missing = [key for key in KEYS[:2] if key not in arrays]
    if "x_test" in arrays or "y_test" in arrays:
        missing += [key for key in KEYS[2:4] if key not in arrays]
    if missing:
        present = ", ".join([*arrays, *unused]) or "nothing"
        raise InputError(f"{file}: lacks {' and '.join(missing)}; it holds {present}. {EXPECTED}")
    x, y = _images(arrays["x_train"], f"{file}: x_train"), _labels(arrays["y_train"], f"{file}: y_train")
    if len(y) != len(x):
        raise InputError(f"{file}: y_train has {len(y)} labels, x_train {len(x)} images; every image needs one label")
    if "class_names" in arrays:
        names = _class_names(arrays["class_names"], file)
    else:
        names = tuple(str(number) for number in range(int(y.max()) + 1))
    parts: tuple[Source, Labels, Source, Labels]
    if "x_test" in arrays:
        parts = (x, y, _images(arrays["x_test"], f"{file}: x_test"), _labels(arrays["y_test"], f"{file}: y_test"))
    else:
        parts = split_off_test(x, y)
    notes = (f"{file.name}: {', '.join(unused)} are not used",) if unused else ()
    scale = 1 / 255 if x.dtype == np.uint8 else 1.0
    return RawData(*parts, class_names=names, name=f"npz {file.name}", scale=scale, notes=notes)


def _arrays(file: Path) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """The arrays of KEYS that there are, and the names of others."""
    try:
        if file.is_dir():
            names = [each.stem for each in sorted(file.glob("*.npy"))]
            used = [name for name in names if name in KEYS]
            found: dict[str, npt.NDArray[Any]] = {name: open_memmap(file / f"{name}.npy", mode="r") for name in used}
            return found, [name for name in names if name not in KEYS]
        return read_arrays(file, KEYS), [name for name in array_names(file) if name not in KEYS]
    except FileNotFoundError:
        raise InputError(f"{file}: no such file. {EXPECTED}") from None
    except DAMAGED as error:
        what = "holds a file that is no plain array" if file.is_dir() else "is no .npz of plain arrays"
        why = str(error) or type(error).__name__
        raise InputError(f"{file}: {what}, or a damaged one ({why}). {EXPECTED}") from error


def _images(x: npt.NDArray[Any], where: str) -> Images:
    if x.ndim == 3:
        x = x[:, None]
    if x.dtype.kind in "iu" and x.dtype != np.uint8:
        if x.size and not 0 <= int(x.min()) <= int(x.max()) <= 255:
            raise InputError(f"{where}: integers from {x.min()} to {x.max()}; 8-bit images are 0 to 255, others floats")
        x = x.astype(np.uint8, subok=False)
    elif x.dtype.kind == "f":
        # What float32 can't hold becomes infinite, and check_images says where.
        with np.errstate(over="ignore"):
            x = x if x.dtype == np.float32 else x.astype(np.float32, subok=False)
    check_images(x, where)
    if x.shape[3] in (1, 3, 4) and x.shape[1] > 4:
        raise InputError(f"{where}: shape {list(x.shape)} has its channels last; transpose it by (0, 3, 1, 2)")
    return x


def _labels(y: npt.NDArray[Any], where: str) -> Labels:
    if y.ndim != 1 or y.dtype.kind not in "iu" or not len(y):
        raise InputError(f"{where}: {y.dtype} {list(y.shape)}; give one integer per image: its class number, from 0")
    if int(y.min()) < 0 or int(y.max()) > 1_000_000:
        raise InputError(f"{where}: class numbers run from {y.min()} to {y.max()}; give 0, 1, ... without gaps")
    return y.astype(np.int32)


def _class_names(names: npt.NDArray[Any], file: Path) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind != "U":
        raise InputError(f"{file}: class_names is {names.dtype} {list(names.shape)}; give a list of strings")
    return tuple(names.tolist())
