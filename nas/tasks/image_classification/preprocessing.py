"""Preprocessing as one record: from pixels as the source gives them to the network's input.

The record stands in the manifest, and this file is what training, verification and deployed bundles execute.
Therefore it needs Python 3.8, numpy 1.17 and nothing else, and raises plain ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

SCHEMA = 1


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input: crop and resize to `size`, then (image * scale - mean) / std.

    `size` is (height, width) in pixels. `scale` brings the source's values to [0, 1]: 1/255 for 8-bit images.
    `mean` and `std`, one per channel, are in scaled units. `class_names[i]` is the meaning of output i.
    """

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1 or self.channels < 1:
            raise ValueError(
                f"preprocessing: size {self.size} with {self.channels} channels is no image; "
                "give (height, width) and a channel count of at least 1"
            )
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(
                f"preprocessing: {len(self.mean)} means and {len(self.std)} standard deviations for "
                f"{self.channels} channels; give one of each per channel"
            )
        numbers = np.array([*self.mean, *self.std, self.scale], np.float64)
        if not np.isfinite(numbers).all() or min(*self.std, self.scale) <= 0:
            raise ValueError(
                f"preprocessing: mean {self.mean}, std {self.std}, scale {self.scale}; "
                "all must be finite, std and scale positive"
            )

    def apply(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return float32 [n, channels, *size] from uint8 or float [n, channels, H, W] in the source's own units.

        Raises ValueError for another type, rank or number of channels.
        """
        if images.ndim != 4 or images.shape[1] != self.channels:
            raise ValueError(
                f"preprocessing: images have shape {images.shape}; this network takes "
                f"[n, {self.channels}, height, width]: batch and channels first"
            )
        if images.dtype != np.uint8 and images.dtype.kind != "f":
            raise ValueError(f"preprocessing: images are {images.dtype}; give uint8 or floating point")
        # Gain and offset are rounded once, so every machine multiplies and subtracts the same float32 numbers.
        gain = (self.scale / np.array(self.std, np.float64)).astype(np.float32)
        offset = (np.array(self.mean, np.float64) / np.array(self.std, np.float64)).astype(np.float32)
        out = resize(images, self.size).astype(np.float32)
        out *= gain[:, None, None]
        out -= offset[:, None, None]
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-able values; floats survive JSON exactly."""
        return {
            "schema": SCHEMA,
            "size": list(self.size),
            "channels": self.channels,
            "mean": list(self.mean),
            "std": list(self.std),
            "scale": self.scale,
            "class_names": list(self.class_names),
        }

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Preprocessing:
        """Return the record that `to_dict` wrote; raises ValueError for another schema or a missing field."""
        if record.get("schema") != SCHEMA:
            raise ValueError(
                f"preprocessing: schema {record.get('schema')!r} is unknown to this version, "
                f"which reads {SCHEMA}; use the version that wrote it, or a newer one"
            )
        fields = ("size", "channels", "mean", "std", "scale", "class_names")
        missing = [field for field in fields if field not in record]
        if missing:
            raise ValueError(f"preprocessing: the record lacks {', '.join(missing)}; export it again")
        height, width = record["size"]
        return Preprocessing(
            size=(int(height), int(width)),
            channels=int(record["channels"]),
            mean=tuple(float(value) for value in record["mean"]),
            std=tuple(float(value) for value in record["std"]),
            scale=float(record["scale"]),
            class_names=tuple(str(name) for name in record["class_names"]),
        )


def resize(images: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Return images [n, C, H, W] cropped centrally to the aspect ratio of `size` and resized to it.

    Antialiased bilinear, as Pillow's BILINEAR: a triangle as wide as the step between outputs, at least one pixel.
    uint8 is rounded to uint8; floating point becomes float32. Images of that size already are returned as they are.
    """
    height, width = images.shape[2:]
    if (height, width) == tuple(size):
        return images
    crop_height = min(height, max(1, (width * size[0] + size[1] // 2) // size[1]))
    crop_width = min(width, max(1, (height * size[1] + size[0] // 2) // size[0]))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    cropped = images[:, :, top : top + crop_height, left : left + crop_width].astype(np.float32)
    out: npt.NDArray[Any] = np.matmul(
        np.matmul(_triangle(crop_height, size[0]), cropped), _triangle(crop_width, size[1]).T
    )
    return np.clip(np.rint(out), 0, 255).astype(np.uint8) if images.dtype == np.uint8 else out


def _triangle(source: int, target: int) -> npt.NDArray[np.float32]:
    """Return the interpolation matrix [target, source]; each row sums to 1."""
    step = source / target
    centres = (np.arange(target) + 0.5) * step
    distance = np.abs(np.arange(source) + 0.5 - centres[:, None]) / max(step, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    out: npt.NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return out
