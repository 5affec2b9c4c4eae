"""Random changes of training images that keep their labels: shift, mirror, cutout."""

import numpy as np
import numpy.typing as npt

from nas.tasks.image_classification.dataset import Augmentation
from nas.tasks.image_classification.source import Images


def augment(images: Images, augmentation: Augmentation, rng: np.random.Generator) -> Images:
    """Changed copies of images [n, C, H, W], same shape and dtype; uncovered pixels are 0.

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
    """The positions [n, length] that a stretch of `cutout` around each of `centres` [n, 1] covers."""
    distance = np.arange(length) - (centres - cutout // 2)
    covered: npt.NDArray[np.bool_] = (distance >= 0) & (distance < cutout)
    return covered
