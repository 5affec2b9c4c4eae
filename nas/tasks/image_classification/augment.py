"""Random changes of training images that keep their labels: shift, mirror, cutout."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from nas.errors import InputError
from nas.tasks.image_classification.dataset import Images


@dataclass(frozen=True)
class Augmentation:
    """Shift by up to `shift` pixels each way, mirror half of them if `flip`, blank a square of side `cutout`."""

    shift: int = 0
    flip: bool = False
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.shift < 0 or self.cutout < 0:
            raise InputError(
                f"augmentation: shift {self.shift} and cutout {self.cutout} are pixels; neither can be negative"
            )


# Mirrored digits are other signs, so digits are never flipped; of a user's own arrays we don't know.
# CIFAR: pad by 4, crop and flip as He et al. 2016 (arXiv:1512.03385); cutout after DeVries & Taylor 2017, but 8 instead
# of 16, since networks for small devices underfit rather than overfit.
DEFAULT_AUGMENTATION: Mapping[str, Augmentation] = MappingProxyType(
    {
        "digits": Augmentation(shift=1),
        "fashion_mnist": Augmentation(shift=2, flip=True),
        "cifar10": Augmentation(shift=4, flip=True, cutout=8),
        "cifar100": Augmentation(shift=4, flip=True, cutout=8),
        "image_folder": Augmentation(shift=4, flip=True),
        "npz": Augmentation(),
    }
)


def default_augmentation(name: str) -> Augmentation:
    """Return what suits the data set `name` of the registry, and no change at all for a set that is not ours."""
    return DEFAULT_AUGMENTATION.get(name, Augmentation())


def augment(images: Images, augmentation: Augmentation, rng: np.random.Generator) -> Images:
    """Return changed copies of images [n, C, H, W], same shape and dtype; uncovered pixels are 0.

    What happens to image i depends on `rng`, n, H, W and `augmentation` only. Cutout centres are uniform over the
    image, so a square may hang over the edge (DeVries & Taylor 2017, arXiv:1708.04552).
    """
    n, channels, height, width = images.shape
    out = images.copy()
    if augmentation.shift:
        pad = augmentation.shift
        padded = np.zeros((n, channels, height + 2 * pad, width + 2 * pad), images.dtype)
        padded[:, :, pad:-pad, pad:-pad] = images
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
        offsets = rng.integers(0, 2 * pad + 1, size=(2, n))
        out = windows[np.arange(n), :, offsets[0], offsets[1]]
    if augmentation.flip:
        mirrored = rng.random(n) < 0.5
        out[mirrored] = out[mirrored, :, :, ::-1]
    if augmentation.cutout:
        rows = _hidden(rng.integers(0, height, size=(n, 1)), height, augmentation.cutout)
        columns = _hidden(rng.integers(0, width, size=(n, 1)), width, augmentation.cutout)
        out *= ~(rows[:, None, :, None] & columns[:, None, None, :])
    return out


def _hidden(centres: npt.NDArray[np.int64], length: int, cutout: int) -> npt.NDArray[np.bool_]:
    """Return [n, length]: the positions that a stretch of `cutout` around each of `centres` [n, 1] covers."""
    distance = np.arange(length) - (centres - cutout // 2)
    covered: npt.NDArray[np.bool_] = (distance >= 0) & (distance < cutout)
    return covered
