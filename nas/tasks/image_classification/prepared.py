"""A data set ready for use: raw data, its splits, and the preprocessing fitted on its training images."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.errors import InputError
from nas.tasks.image_classification.dataset import Images, Labels, RawData
from nas.tasks.image_classification.preprocessing import Preprocessing, resize
from nas.tasks.image_classification.splits import Indices, SplitFractions, Splits, make_splits

Labelled: TypeAlias = Literal["train", "arch", "val", "cert"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """What training, search, export and verification take their images from."""

    raw: RawData
    splits: Splits
    preprocessing: Preprocessing

    def raw_images(self, part: Labelled | Literal["test"]) -> Images:
        """Return a copy of the part's images [n, C, H, W] as the source gives them; augmentation works on these."""
        if part == "test":
            return self.raw.test_x[self.splits.test]
        return self.raw.train_x[self._indices(part)]

    def images(self, part: Labelled | Literal["test"]) -> npt.NDArray[np.float32]:
        """Return the part as the network's input, float32 [n, channels, *size]."""
        return self.preprocessing.apply(self.raw_images(part))

    def labels(self, part: Labelled) -> Labels:
        """Return the part's labels [n]; those of the test part have a method of their own."""
        return self.raw.train_y[self._indices(part)]

    def test_labels(self) -> Labels:
        """Return the labels of the test part [n]: to be read once, after verification, by the report alone."""
        return self.raw.test_y[self.splits.test]

    def _indices(self, part: Labelled) -> Indices:
        by_name: dict[Labelled, Indices] = {
            "train": self.splits.train,
            "arch": self.splits.arch,
            "val": self.splits.val,
            "cert": self.splits.cert,
        }
        return by_name[part]


def prepare(
    raw: RawData, seed: int, size: tuple[int, int] | None = None, fractions: SplitFractions | None = None
) -> Dataset:
    """Return `raw` split by the run seed, with preprocessing to `size` (height, width), by default the source's."""
    splits = make_splits(raw, seed, fractions)
    return Dataset(raw, splits, fit_preprocessing(raw, splits.train, size))


def fit_preprocessing(raw: RawData, train: Indices, size: tuple[int, int] | None = None) -> Preprocessing:
    """Return the record whose output has mean 0 and standard deviation 1 per channel on the images `train`."""
    channels, height, width = raw.image_shape
    size = size or (height, width)
    if min(size) < 1:
        raise InputError(f"input size {size}; height and width must be at least 1 pixel")
    pixels = resize(raw.train_x[train], size)
    mean, std = zip(*(_moments(pixels[:, channel]) for channel in range(channels)), strict=True)
    return Preprocessing(
        size=size,
        channels=channels,
        mean=tuple(value * raw.scale for value in mean),
        # A constant channel carries nothing; any divisor keeps it at 0.
        std=tuple(value * raw.scale or 1.0 for value in std),
        scale=raw.scale,
        class_names=raw.class_names,
    )


def _moments(pixels: Images) -> tuple[float, float]:
    """Return mean and standard deviation in float64; 8-bit pixels by their exact histogram."""
    if pixels.dtype == np.uint8:
        count = np.zeros(256, np.int64)
        # bincount widens what it is given to eight bytes a pixel; 1,024 images at a time keeps that in the cache.
        for start in range(0, len(pixels), 1024):
            count += np.bincount(pixels[start : start + 1024].ravel(), minlength=256)
        share = count / pixels.size
        values = np.arange(256)
        mean = float(share @ values)
        return mean, float(np.sqrt(share @ (values - mean) ** 2))
    return float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
