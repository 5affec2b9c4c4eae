"""A data set ready for use: raw data, its splits, and the preprocessing fitted on its training images."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.errors import InputError
from nas.tasks.image_classification.dataset import Labels, RawData
from nas.tasks.image_classification.fractions import OptionalPart, SplitFractions
from nas.tasks.image_classification.preprocessing import Preprocessing, resize
from nas.tasks.image_classification.source import Images, Indices, View, chunks, part_of
from nas.tasks.image_classification.splits import OPTIONAL, Part, Splits, make_splits

Labelled: TypeAlias = Literal["train", "arch", "val", "cert"]
#: With fewer images of a class, how well it is recognised is a matter of luck: of 4, one more is 25 points of recall.
FEW: Final = 5


@dataclass(frozen=True, eq=False)
class Dataset:
    """What training, search, export and verification take their images from."""

    raw: RawData
    splits: Splits
    preprocessing: Preprocessing

    def raw_images(self, part: Labelled | Literal["test"]) -> View:
        """The part's images [n, C, H, W] as the source gives them; they are read when asked for."""
        if part == "test":
            return part_of(self.raw.test_x, self.splits.test)
        return part_of(self.raw.train_x, self._indices(part))

    def images(self, part: Labelled | Literal["test"]) -> npt.NDArray[np.float32]:
        """The part as the network's input, float32 [n, channels, *size]."""
        return self.preprocessing.apply(self.raw_images(part)[:])

    def labels(self, part: Labelled) -> Labels:
        """The part's labels [n]; those of the test part have a method of their own."""
        return self.raw.train_y[self._indices(part)]

    def test_labels(self) -> Labels:
        """The labels of the test part [n]: to be read once, after verification, by the report alone."""
        return self.raw.test_y[self.splits.test]

    def class_counts(self) -> dict[Part, npt.NDArray[np.int64]]:
        """How many images of each class [classes] every part has; parts without images have zeros."""
        classes = len(self.raw.class_names)
        parts: tuple[Labelled, ...] = ("train", "arch", "val", "cert")
        counts: dict[Part, npt.NDArray[np.int64]] = {
            part: np.bincount(self.labels(part), minlength=classes) for part in parts
        }
        return {**counts, "test": np.bincount(self.raw.test_y[self.splits.test], minlength=classes)}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the data: the loader's notes, images left out, and classes with hardly any."""
        notes = [*self.raw.notes]
        if self.splits.left_out:
            notes.append(f"{self.splits.left_out} training images stand in the test part too and are left out")
        for part, counts in self.class_counts().items():
            if counts.any() and (thin := self._thin(counts)):
                notes.append(f"the part {part} has {thin}")
        return tuple(notes)

    def _thin(self, counts: npt.NDArray[np.int64]) -> str:
        """Which classes have no image or few, as the end of a sentence; empty where all have enough."""
        said = []
        for what, found in (("no image", counts == 0), (f"fewer than {FEW} images", (counts > 0) & (counts < FEW))):
            names = [self.raw.class_names[number] for number in np.flatnonzero(found)]
            if names:
                shown = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
                said.append(f"{what} of {len(names)} of {len(counts)} classes ({shown})")
        return " and ".join(said)

    def _indices(self, part: Labelled) -> Indices:
        by_name: dict[Labelled, Indices] = {
            "train": self.splits.train,
            "arch": self.splits.arch,
            "val": self.splits.val,
            "cert": self.splits.cert,
        }
        return by_name[part]


def prepare(
    raw: RawData,
    seed: int,
    size: tuple[int, int] | None = None,
    fractions: SplitFractions | None = None,
    aside: Collection[OptionalPart] = OPTIONAL,
) -> Dataset:
    """`raw` split by the run seed, with preprocessing to `size` (height, width), by default the source's.

    `fractions` and `aside` are those of `make_splits`.
    """
    splits = make_splits(raw, seed, fractions, aside)
    return Dataset(raw, splits, fit_preprocessing(raw, splits.train, size))


def fit_preprocessing(raw: RawData, train: Indices, size: tuple[int, int] | None = None) -> Preprocessing:
    """The record whose output has mean 0 and standard deviation 1 per channel on the images `train`."""
    channels, height, width = raw.image_shape
    size = size or (height, width)
    if min(size) < 1:
        raise InputError(f"input size {size}; height and width must be at least 1 pixel")
    mean, std = _moments(part_of(raw.train_x, train), size)
    return Preprocessing(
        size=size,
        channels=channels,
        mean=tuple(value * raw.scale for value in mean),
        # A constant channel carries nothing; any divisor keeps it at 0.
        std=tuple(value * raw.scale or 1.0 for value in std),
        scale=raw.scale,
        class_names=raw.class_names,
    )


def _moments(images: View, size: tuple[int, int]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in float64; of 8-bit pixels by their exact histogram."""
    if images.dtype == np.uint8:
        values, found = np.arange(256), []
        counts = np.zeros((images.shape[1], 256), np.int64)
        for pixels in _resized(images, size):
            # bincount widens what it is given to eight bytes a pixel; a channel of a chunk stays in the cache.
            counts += [np.bincount(channel.ravel(), minlength=256) for channel in pixels.swapaxes(0, 1)]
        for count in counts:
            share = count / count.sum()
            mean = float(share @ values)
            found.append((mean, float(np.sqrt(share @ (values - mean) ** 2))))
        return [mean for mean, _ in found], [std for _, std in found]
    n = len(images) * size[0] * size[1]
    means = sum(pixels.sum(axis=(0, 2, 3), dtype=np.float64) for pixels in _resized(images, size)) / n
    centred = (pixels.astype(np.float64) - means[:, None, None] for pixels in _resized(images, size))
    variances = sum(np.square(pixels).sum(axis=(0, 2, 3)) for pixels in centred) / n
    return means.tolist(), np.sqrt(variances).tolist()


def _resized(images: View, size: tuple[int, int]) -> Iterator[Images]:
    return (resize(pixels, size) for pixels in chunks(images))
