"""Fashion-MNIST, 60,000 + 10,000 grey images of 28 x 28 in ten classes of clothing.

H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747. MIT licence; Debian packages it.
"""

from pathlib import Path

import numpy as np

from nas.errors import InputError
from nas.tasks.image_classification.dataset import Augmentation, Labels, RawData, check_labels
from nas.tasks.image_classification.files import existing_folder
from nas.tasks.image_classification.idx import read_idx
from nas.tasks.image_classification.source import Images
from nas.tasks.image_classification.splits import limit_training

DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist"
EXPECTED = (
    "Install it with `apt install dataset-fashion-mnist`, or give `path` a folder with train-images-idx3-ubyte, "
    "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz"
)
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip
AUGMENTATION = Augmentation(shift=2, flip=True)


def fashion_mnist(path: str = DEBIAN_FOLDER, limit: int | None = None) -> RawData:
    """Fashion-MNIST, uint8 [n, 1, 28, 28], from the four IDX files in `path`; `limit` training images are kept."""
    folder = existing_folder(path, EXPECTED)
    train_x, train_y = _part(folder, "train")
    test_x, test_y = _part(folder, "t10k")
    kept_x, kept_y = limit_training(train_x, train_y, limit, "fashion_mnist")
    return RawData(kept_x, kept_y, test_x, test_y, CLASS_NAMES, "fashion_mnist", augmentation=AUGMENTATION)


def _part(folder: Path, part: str) -> tuple[Images, Labels]:
    images = read_idx(folder, f"{part}-images-idx3-ubyte", 3, EXPECTED)
    labels = read_idx(folder, f"{part}-labels-idx1-ubyte", 1, EXPECTED).astype(np.int32)
    if not images.size:
        raise InputError(f"{folder}: {part}-images-idx3-ubyte holds no pixels. {EXPECTED}")
    check_labels(labels, len(images), CLASS_NAMES, f"{folder}: {part}-labels-idx1-ubyte")
    return images[:, None], labels
