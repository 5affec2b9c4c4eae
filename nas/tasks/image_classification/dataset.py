"""What a loader returns: images and labels in the source's own units, checked when built."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.errors import InputError
from nas.tasks.image_classification.source import Source, chunks

Labels: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Augmentation:
    """Changes of training images that keep their labels: in pixels, and whether half of them are mirrored.

    Shift by up to `shift` pixels each way, mirror half of them if `flip`, blank a square of side `cutout`.
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0 or self.cutout < 0:
            raise InputError(
                f"augmentation: shift {self.shift} and cutout {self.cutout} are pixels; neither can be negative"
            )


@dataclass(frozen=True, eq=False)
class RawData:
    """A training and a test part: images uint8 or float32 [n, C, H, W], in memory or on disk, labels int32 [n]
    in 0..classes-1.

    `scale` brings pixel values to [0, 1]: 1/255 for 8-bit images, 1 for floats that are in their units already.
    `augmentation` is what keeps these labels and helps; of images that nothing is known about, none does. `notes` tell
    the user what the loader left out or decided. Raises InputError when the parts don't fit together.
    """

    train_x: Source
    train_y: Labels
    test_x: Source
    test_y: Labels
    class_names: tuple[str, ...]
    name: str
    scale: float = 1 / 255
    notes: tuple[str, ...] = ()
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        check_class_names(self.class_names, self.name)
        for part, x, y in (("train", self.train_x, self.train_y), ("test", self.test_x, self.test_y)):
            check_images(x, f"{self.name}, {part} images")
            check_labels(y, len(x), self.class_names, f"{self.name}, {part} labels")
        if self.train_x.shape[1:] != self.test_x.shape[1:] or self.train_x.dtype != self.test_x.dtype:
            raise InputError(
                f"{self.name}: training images are {self.train_x.dtype} {list(self.train_x.shape[1:])} and test "
                f"images {self.test_x.dtype} {list(self.test_x.shape[1:])}; both parts must have one type and shape"
            )
        absent = np.flatnonzero(np.bincount(self.train_y, minlength=len(self.class_names)) == 0)
        if absent.size:
            raise InputError(
                f"{self.name}: {absent.size} of {len(self.class_names)} classes have no training image, the first is "
                f"{self.class_names[absent[0]]!r} (label {absent[0]}); no network can learn them: add images, or "
                "number the labels 0, 1, ... without gaps"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        channels, height, width = self.train_x.shape[1:]
        return channels, height, width


def check_images(x: Source, where: str) -> None:
    """Raise InputError unless x is uint8 or float32 [n >= 1, C, H, W] without NaN and infinity."""
    if x.dtype not in (np.uint8, np.float32):
        raise InputError(f"{where}: type {x.dtype}; images must be uint8 or floating point")
    if x.ndim != 4 or 0 in x.shape:
        hint = "transpose (0, 3, 1, 2) if channels are last; [n, 1, height, width] for grey images"
        raise InputError(f"{where}: shape {list(x.shape)}; expected [images, channels, height, width]: {hint}")
    if x.dtype == np.float32:
        values, images, first, begin = 0, 0, (0, 0, 0, 0), 0
        for chunk in chunks(x):
            bad = ~np.isfinite(chunk)
            if bad.any():
                image, channel, row, column = map(int, np.argwhere(bad)[0])
                first = first if values else (begin + image, channel, row, column)
                values, images = values + int(bad.sum()), images + int(bad.any(axis=(1, 2, 3)).sum())
            begin += len(chunk)
        if values:
            image, channel, row, column = first
            raise InputError(
                f"{where}: {values} values in {images} images are NaN or infinite, "
                f"the first at image {image}, channel {channel}, row {row}, column {column}; repair or remove them"
            )


def check_labels(y: npt.NDArray[Any], images: int, class_names: tuple[str, ...], where: str) -> None:
    """Raise InputError unless y is int32 [images] with values in 0..len(class_names)-1."""
    if y.ndim != 1 or y.dtype != np.int32:
        raise InputError(f"{where}: {y.dtype} {list(y.shape)}; expected one int32 class number per image")
    if len(y) != images:
        raise InputError(f"{where}: {len(y)} labels for {images} images; every image needs exactly one label")
    outside = np.flatnonzero((y < 0) | (y >= len(class_names)))
    if outside.size:
        raise InputError(
            f"{where}: {outside.size} labels lie outside 0..{len(class_names) - 1}, the first is {y[outside[0]]} at "
            f"position {outside[0]}; correct the labels or the list of classes"
        )


def check_class_names(class_names: tuple[str, ...], where: str) -> None:
    """Raise InputError unless there are at least two classes, all with different names."""
    if len(class_names) < 2:
        raise InputError(f"{where}: {len(class_names)} class(es) {list(class_names)}; classifying needs at least two")
    repeated = sorted({name for name in class_names if class_names.count(name) > 1})
    if repeated:
        raise InputError(f"{where}: class name {repeated[0]!r} occurs more than once; names must differ")
