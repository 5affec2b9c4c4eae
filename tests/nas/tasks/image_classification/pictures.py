"""Folders of random pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(file: Path, seed: int = 0, size: tuple[int, int] = (10, 8), mode: str = "RGB") -> Any:
    """Write a random picture and return it as [3, height, width]."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).convert(mode)
    image.save(file)
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def fill(folder: Path, n: int, classes: tuple[str, ...] = ("cat", "dog"), seed: int = 0) -> Path:
    for place, name in enumerate(classes):
        for number in range(n):
            picture(folder / name / f"{number}.png", seed + 100 * place + number)
    return folder
