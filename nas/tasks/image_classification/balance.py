"""Accuracy where classes differ in size: the recall of each class, and their mean, the balanced accuracy.

Of 98 images of one class and 2 of another, an answer that is always the first is right in 98 % of the images; its
balanced accuracy is 50 % (Brodersen et al., "The balanced accuracy and its posterior distribution", ICPR 2010).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.tasks.image_classification.dataset import Labels


def class_weights(labels: Labels) -> NDArray[np.float64]:
    """What each image [n] counts, 1 in all, if each class that has an image counts the same."""
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1.0 / (len(counts) * counts[members])
    return weights


def balanced_accuracy(right: NDArray[np.bool_], labels: Labels) -> float:
    """The mean recall of the classes that have an image, from which images [n] are answered rightly."""
    return float(class_weights(labels) @ right)


def hits_by_class(
    right: NDArray[np.bool_], labels: Labels, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many images of each class [classes] are answered rightly, and how many there are."""
    return np.bincount(labels[right], minlength=classes), np.bincount(labels, minlength=classes)
