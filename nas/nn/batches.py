"""Training images as the training loops read them: raw, augmented and prepared batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas.errors import InputError
from nas.seeds import derive_seed
from nas.tasks.image_classification.augment import augment
from nas.tasks.image_classification.batches import epoch_batches, step_rng
from nas.tasks.image_classification.dataset import Augmentation, Labels
from nas.tasks.image_classification.preprocessing import Preprocessing
from nas.tasks.image_classification.source import Source


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Raw images [n, C, H, W] with labels [n], how they become inputs, and how they are changed while training."""

    images: Source
    labels: Labels
    preprocessing: Preprocessing
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __len__(self) -> int:
        return len(self.labels)

    def prepared(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Inputs [len(positions), channels, height, width] without augmentation."""
        return self.preprocessing.apply(self.images[positions])

    def sample(self, n: int, seed: int) -> NDArray[np.int64]:
        """Ascending positions of `n` images (all, if there are fewer) drawn without replacement."""
        order = np.random.default_rng(seed).permutation(len(self))
        return np.sort(order[:n])


@dataclass(frozen=True, eq=False)
class Batches:
    """The batches of a training: step -> images, labels and the step's generator; a function of the seed alone."""

    data: TrainingSet
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if not 2 <= self.batch_size <= len(self.data):
            raise InputError(
                f"batch size {self.batch_size} with {len(self.data)} training images; batch norm needs at least 2, and "
                "a batch cannot be larger than the data"
            )

    @property
    def per_epoch(self) -> int:
        """Steps until every image has been seen once; what does not fill a batch waits for the next epoch."""
        return len(self.data) // self.batch_size

    def rng(self, step: int) -> np.random.Generator:
        """A step's generator for what is drawn besides the batch."""
        return step_rng(derive_seed(self.seed, "choices"), *divmod(step, self.per_epoch))

    def __call__(self, step: int) -> tuple[NDArray[np.float32], Labels]:
        """Inputs [batch, channels, height, width], augmented, and labels [batch] of a step."""
        epoch, number = divmod(step, self.per_epoch)
        positions = epoch_batches(len(self.data), self.batch_size, self.seed, epoch)[number]
        rng = step_rng(self.seed, epoch, number)
        images = augment(self.data.images[positions], self.data.augmentation, rng)
        return self.data.preprocessing.apply(images), self.data.labels[positions]
