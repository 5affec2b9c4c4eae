"""Handwritten digits, 1,797 grey images of 8 x 8: the set that is always there.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI 1998, https://doi.org/10.24432/C50P49.
scikit-learn's wheel holds the 1,797 images of the original test part.
"""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from nas.errors import InputError
from nas.tasks.image_classification.dataset import Augmentation, RawData
from nas.tasks.image_classification.splits import split_off_test

#: Mirrored digits are other signs.
AUGMENTATION = Augmentation(shift=1)


def digits() -> RawData:
    """Handwritten digits 0 to 9, uint8 [n, 1, 8, 8] with values 0..16; a fifth is split off for testing."""
    # Importing scikit-learn takes seconds; reading the one file out of its package takes 20 ms.
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("digits: scikit-learn holds the images and is not installed; pip install scikit-learn")
    file = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    if not file.is_file():
        raise InputError(f"digits: {file} is missing; install a scikit-learn from 1.4 on that has it")
    with gzip.open(file, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float64)
    x = table[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8)
    y = table[:, -1].astype(np.int32)
    names = tuple(str(digit) for digit in range(10))
    return RawData(*split_off_test(x, y), class_names=names, name="digits", scale=1 / 16, augmentation=AUGMENTATION)
