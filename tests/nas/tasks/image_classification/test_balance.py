"""Balanced accuracy: every class counts the same, whatever its size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.tasks.image_classification.balance import balanced_accuracy, class_weights, hits_by_class


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=80))
def test_it_is_the_mean_recall_of_the_classes_that_there_are(rows: list[tuple[int, bool]]) -> None:
    labels, right = (np.array(column) for column in zip(*rows, strict=True))
    labels = labels.astype(np.int32)
    recalls = [right[labels == label].mean() for label in set(labels.tolist())]
    assert balanced_accuracy(right, labels) == pytest.approx(np.mean(recalls))
    assert class_weights(labels).sum() == pytest.approx(1)
    hits, counts = hits_by_class(right, labels, 7)
    assert (hits.sum(), counts.sum(), len(counts)) == (right.sum(), len(labels), 7)
    assert [hits[label] / counts[label] for label in sorted(set(labels.tolist()))] == pytest.approx(
        [right[labels == label].mean() for label in sorted(set(labels.tolist()))]
    )


def test_answering_the_larger_class_alone_is_chance() -> None:
    labels = np.repeat(np.array([0, 1], np.int32), [983, 17])
    assert balanced_accuracy(labels == 0, labels) == pytest.approx(0.5)


def test_where_classes_have_one_size_it_is_the_accuracy() -> None:
    labels, right = np.arange(40, dtype=np.int32) % 4, np.random.default_rng(0).random(40) < 0.7
    assert balanced_accuracy(right, labels) == pytest.approx(right.mean())
