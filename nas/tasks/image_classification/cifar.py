"""CIFAR-10 and CIFAR-100 from the folders of their "python version".

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.errors import InputError
from nas.tasks.image_classification.dataset import Augmentation, Labels, RawData, check_labels
from nas.tasks.image_classification.files import existing_folder
from nas.tasks.image_classification.safe_pickle import load_pickle
from nas.tasks.image_classification.source import Images
from nas.tasks.image_classification.splits import limit_training

WHERE = "Get the python version from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and give `path` its folder"
PIXELS = 3 * 32 * 32
#: Pad by 4, crop and flip as He et al. 2016 (arXiv:1512.03385); cutout after DeVries & Taylor 2017 (arXiv:1708.04552),
#: but 8 instead of 16, since networks for small devices underfit rather than overfit.
AUGMENTATION = Augmentation(shift=4, flip=True, cutout=8)


def cifar10(path: str, limit: int | None = None) -> RawData:
    """CIFAR-10, uint8 [n, 3, 32, 32], from cifar-10-batches-py (`path` is it or holds it); `limit` training images."""
    folder = _folder(path, "cifar-10-batches-py")
    names = _names(folder / "batches.meta", "label_names")
    batches = [_batch(folder / f"data_batch_{number}", "labels", names) for number in range(1, 6)]
    train_x = np.concatenate([x for x, _ in batches])
    train_y = np.concatenate([y for _, y in batches])
    kept_x, kept_y = limit_training(train_x, train_y, limit, "cifar10")
    test = _batch(folder / "test_batch", "labels", names)
    return RawData(kept_x, kept_y, *test, names, "cifar10", augmentation=AUGMENTATION)


def cifar100(path: str, labels: Literal["fine", "coarse"] = "fine", limit: int | None = None) -> RawData:
    """CIFAR-100, uint8 [n, 3, 32, 32], in cifar-100-python: 100 fine or 20 coarse classes; `limit` as in cifar10."""
    folder = _folder(path, "cifar-100-python")
    names = _names(folder / "meta", f"{labels}_label_names")
    train_x, train_y = _batch(folder / "train", f"{labels}_labels", names)
    kept_x, kept_y = limit_training(train_x, train_y, limit, "cifar100")
    test = _batch(folder / "test", f"{labels}_labels", names)
    return RawData(kept_x, kept_y, *test, names, "cifar100", augmentation=AUGMENTATION)


def _folder(path: str, name: str) -> Path:
    folder = existing_folder(path, f"{WHERE} {name}")
    return folder / name if (folder / name).is_dir() else folder


def _record(file: Path, *keys: str) -> dict[str, Any]:
    loaded = load_pickle(file, WHERE)
    record: dict[str, Any] = loaded if isinstance(loaded, dict) else {}
    missing = [repr(key) for key in keys if key not in record]
    if missing:
        raise InputError(f"{file}: holds no {' and no '.join(missing)}, so it is no such CIFAR file. {WHERE}")
    return record


def _names(file: Path, key: str) -> tuple[str, ...]:
    names = _record(file, key)[key]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{file}: {key!r} is no list of names. {WHERE}")
    return tuple(names)


def _batch(file: Path, key: str, names: tuple[str, ...]) -> tuple[Images, Labels]:
    record = _record(file, "data", key)
    data, labels = record["data"], record[key]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PIXELS:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else type(data).__name__
        raise InputError(f"{file}: 'data' is {found}; expected uint8 [images, {PIXELS}]. {WHERE}")
    if not isinstance(labels, list) or not all(type(label) is int and abs(label) < 2**31 for label in labels):
        raise InputError(f"{file}: {key!r} is no list of class numbers. {WHERE}")
    y = np.array(labels, np.int32)
    check_labels(y, len(data), names, f"{file}: {key!r}")
    return data.reshape(-1, 3, 32, 32), y
