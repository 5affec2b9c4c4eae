"""Images in memory, on disk, and parts of either: the same to whoever reads them."""

from pathlib import Path

import numpy as np
import pytest

from nas.nn.batches import Batches, TrainingSet
from nas.tasks.image_classification.dataset import Augmentation, RawData
from nas.tasks.image_classification.prepared import prepare
from nas.tasks.image_classification.source import Images, View, chunks, image_digests, kept, part_of

RNG = np.random.default_rng(3)
X = RNG.integers(0, 256, (60, 3, 8, 8), np.uint8)
Y = np.arange(60, dtype=np.int32) % 3
NAMES = ("a", "b", "c")


@pytest.fixture
def on_disk(tmp_path: Path) -> Images:
    np.save(tmp_path / "x.npy", X)
    mapped: Images = np.load(tmp_path / "x.npy", mmap_mode="r")
    return mapped


def test_a_part_reads_what_it_is_asked_for(on_disk: Images) -> None:
    positions = np.array([5, 3, 50, 7])
    part = part_of(on_disk, positions)
    assert part.shape == (4, 3, 8, 8) and part.dtype == np.uint8 and len(part) == 4 and part.ndim == 4
    assert np.array_equal(part[1:3], X[[3, 50]]) and type(part[1:3]) is np.ndarray
    assert np.array_equal(part, X[positions]) and np.array_equal(part[np.array([3, 0])], X[[7, 5]])
    deeper = part_of(part, np.array([2, 0]))
    assert deeper.of is on_disk and np.array_equal(deeper, X[[50, 5]])
    with pytest.raises(ValueError, match="no memory"):
        np.asarray(part, copy=False)


def test_what_is_kept_of_an_array_in_memory_lets_the_rest_go(on_disk: Images) -> None:
    positions = np.arange(0, 60, 2)
    assert isinstance(kept(X, positions), np.ndarray)
    for source in (on_disk, on_disk[:, None][:, 0], part_of(on_disk, np.arange(60))):
        assert isinstance(kept(source, positions), View) and np.array_equal(kept(source, positions), X[positions])


def test_all_is_looked_at_in_pieces(on_disk: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = image_digests(X)
    monkeypatch.setattr("nas.tasks.image_classification.source._CHUNK_BYTES", 7 * 192)
    pieces = list(chunks(on_disk))
    assert [len(piece) for piece in pieces] == [7] * 8 + [4] and np.array_equal(np.concatenate(pieces), X)
    assert np.array_equal(image_digests(on_disk), digests)


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("size", [None, (5, 6)])
def test_a_data_set_is_the_same_wherever_its_images_are(
    tmp_path: Path, floats: bool, size: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = X.astype(np.float32) / 100 + 2 if floats else X
    np.save(tmp_path / "x.npy", pixels)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    scale = 1.0 if floats else 1 / 255
    here = prepare(RawData(pixels[:45], Y[:45], pixels[45:], Y[45:], NAMES, "x", scale), 1, size)
    monkeypatch.setattr("nas.tasks.image_classification.source._CHUNK_BYTES", 1000)
    there = prepare(
        RawData(mapped[:45], Y[:45], part_of(mapped, np.arange(45, 60)), Y[45:], NAMES, "x", scale), 1, size
    )
    assert here.splits.hashes == there.splits.hashes
    assert np.allclose(here.preprocessing.mean, there.preprocessing.mean, rtol=1e-12)
    assert np.allclose(here.preprocessing.std, there.preprocessing.std, rtol=1e-12)
    inputs = here.images("train")
    assert abs(inputs.mean()) < 1e-5 and np.isclose(inputs.std(axis=(0, 2, 3)), 1, atol=1e-4).all()
    sets = (
        TrainingSet(each.raw_images("train"), each.labels("train"), here.preprocessing, Augmentation(1, True))
        for each in (here, there)
    )
    one, other = (Batches(each, 8, 4) for each in sets)
    for step in range(4):
        assert all(np.array_equal(a, b) for a, b in zip(one(step), other(step), strict=True))
