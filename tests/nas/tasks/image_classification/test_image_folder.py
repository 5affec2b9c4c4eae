"""Folders of images: layouts, other files, damage."""

import errno
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from nas.errors import InputError
from nas.tasks.image_classification import image_folder as image_folder_module
from nas.tasks.image_classification.image_folder import image_folder
from nas.tasks.image_classification.preprocessing import resize
from nas.tasks.image_classification.source import View
from tests.nas.tasks.image_classification.pictures import fill, picture


def test_one_level_is_split_by_itself(tmp_path: Path) -> None:
    raw = image_folder(str(fill(tmp_path, 20)), size=8)
    assert raw.train_x.shape == (32, 3, 8, 8)
    assert raw.test_x.shape == (8, 3, 8, 8)
    assert np.bincount(raw.test_y).tolist() == [4, 4]
    assert raw.class_names == ("cat", "dog")
    assert raw.notes == ()


@pytest.mark.parametrize("test", ["test", "val"])
def test_two_levels_are_taken_as_they_are(tmp_path: Path, test: str) -> None:
    fill(tmp_path / "train", 3)
    fill(tmp_path / test, 2, seed=50)
    raw = image_folder(str(tmp_path), size=8)
    assert raw.train_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert raw.test_y.tolist() == [0, 0, 1, 1]


def test_val_beside_test_joins_the_training_part(tmp_path: Path) -> None:
    for part, n, seed in (("train", 3, 0), ("val", 1, 20), ("test", 2, 50)):
        fill(tmp_path / part, n, seed=seed)
    raw = image_folder(str(tmp_path), size=8)
    assert (len(raw.train_x), len(raw.test_x)) == (8, 4)


def test_pixels_are_those_that_deployed_preprocessing_would_see(tmp_path: Path) -> None:
    fill(tmp_path / "train", 1)
    original = picture(tmp_path / "test" / "dog" / "x.png", 7, (20, 12))
    raw = image_folder(str(tmp_path), size=6)
    np.testing.assert_array_equal(raw.test_x, resize(original[None], (6, 6)))


def test_the_order_of_creation_does_not_matter(tmp_path: Path) -> None:
    numbers = list(range(6))
    for folder, seed in ((tmp_path / "a", 1), (tmp_path / "b", 2)):
        random.Random(seed).shuffle(numbers)
        for number in numbers:
            for name in ("cat", "dog"):
                picture(folder / "train" / name / f"{number}.png", number)
        fill(folder / "test", 1)
    first, second = (image_folder(str(tmp_path / name), size=8) for name in "ab")
    np.testing.assert_array_equal(first.train_x, second.train_x)


def test_subfolders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    fill(tmp_path / "train", 1)
    picture(tmp_path / "train" / "dog" / "images" / "more" / "x.png", 9)
    fill(tmp_path / "test", 1)
    assert image_folder(str(tmp_path), size=8).train_y.tolist() == [0, 1, 1]


def test_other_files_are_counted_and_ignored(tmp_path: Path) -> None:
    fill(tmp_path / "train", 2)
    fill(tmp_path / "test", 1)
    for name in ("README.txt", "train/labels.csv", "train/cat/Thumbs.db", "train/dog/._0.png", "test/cat/notes"):
        (tmp_path / name).write_text("no image")
    picture(tmp_path / "train" / "outside.png")
    (tmp_path / "train" / ".cache").mkdir()
    raw = image_folder(str(tmp_path), size=8)
    assert len(raw.train_x) == 4
    # README.txt lies outside both parts.
    assert raw.notes == (
        f"images beside the folders of classes are not used (1, such as {tmp_path / 'train' / 'outside.png'})",
        f"files that are no images were ignored (4, such as {tmp_path / 'train' / 'labels.csv'})",
    )


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folders of classes. Expected PATH/<class>/<image> .*: 0 class"):
        image_folder(str(tmp_path), size=8)
    picture(tmp_path / "x.png")
    with pytest.raises(InputError, match="0 class"):
        image_folder(str(tmp_path), size=8)


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 class\(es\) \['cat'\]; classifying needs at least two"):
        image_folder(str(fill(tmp_path, 5, ("cat",))), size=8)


def test_a_class_without_images_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train", 3)
    fill(tmp_path / "test", 3)
    (tmp_path / "train" / "emu").mkdir()
    with pytest.raises(InputError, match=r"1 of 3 classes have no training image, the first is 'emu' \(label 2\)"):
        image_folder(str(tmp_path), size=8)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_without_images_is_refused(tmp_path: Path, part: str) -> None:
    fill(tmp_path / "train", 3)
    fill(tmp_path / "test", 3)
    for file in (tmp_path / part).rglob("*.png"):
        file.unlink()
    with pytest.raises(InputError, match=rf"{part}: holds no images"):
        image_folder(str(tmp_path), size=8)


def test_a_class_unknown_to_training_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train", 3)
    fill(tmp_path / "test", 3, ("cat", "dog", "emu"))
    with pytest.raises(InputError, match="'emu' is no class of the training part, which has 2: cat, dog"):
        image_folder(str(tmp_path), size=8)


def test_a_missing_folder_and_a_size_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: does not exist\. Expected PATH/<class>"):
        image_folder(str(tmp_path / "nowhere"), size=8)
    for size in (-1, 0, 4097, 100_000):
        with pytest.raises(InputError, match=f"size {size}; give the side of the square in pixels, from 1 to 4096"):
            image_folder(str(tmp_path), size=size)


def test_too_few_images_to_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 images, 2 of them different, are too few to split off a test part"):
        image_folder(str(fill(tmp_path, 1)), size=8)


@pytest.fixture
def little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pixels go to disk from the first one on; returns the folder they go to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("nas.tasks.image_classification.image_folder.IN_MEMORY_BYTES", 0)
    return tmp_path / "cache" / "hwnas" / "images"


def test_many_images_are_decoded_once_and_read_from_disk(
    tmp_path: Path, little_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = fill(tmp_path / "photos", 20)
    first = image_folder(str(photos), size=8)
    monkeypatch.setattr("nas.tasks.image_classification.image_folder.IN_MEMORY_BYTES", 2**28)
    held = image_folder(str(photos), size=8)
    assert isinstance(first.train_x, View) and isinstance(first.train_x.of, np.memmap)
    for part in ("train_x", "train_y", "test_x", "test_y"):
        assert np.array_equal(getattr(first, part), getattr(held, part)), part
    monkeypatch.setattr("nas.tasks.image_classification.image_folder.IN_MEMORY_BYTES", 0)
    [kept] = little_memory.rglob("*.npy")
    written = kept.stat().st_mtime_ns
    assert np.array_equal(image_folder(str(photos), size=8).train_x, held.train_x)
    assert kept.stat().st_mtime_ns == written
    kept.write_bytes(kept.read_bytes()[:200])
    assert np.array_equal(image_folder(str(photos), size=8).train_x, held.train_x)
    picture(photos / "cat" / "0.png", seed=99)
    assert not np.array_equal(image_folder(str(photos), size=8).train_x, held.train_x)
    [replaced] = little_memory.rglob("*.npy")
    assert replaced != kept


def test_a_damaged_image_leaves_nothing_on_disk_and_what_was_left_is_removed(
    tmp_path: Path, little_memory: Path
) -> None:
    photos = fill(tmp_path / "photos", 5)
    (photos / "cat" / "3.png").write_bytes(b"no image")
    for _ in range(2):
        with pytest.raises(InputError, match="is no image or a damaged one"):
            image_folder(str(photos), size=8)
        assert not [*little_memory.rglob("*.npy"), *little_memory.rglob("*.part")]
        [folder] = little_memory.iterdir()
        (folder / "0123.part").write_bytes(b"of a process that was killed")


def test_a_cache_that_cannot_be_written_is_said(
    tmp_path: Path, little_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = fill(tmp_path / "photos", 5)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="make room, or set XDG_CACHE_HOME"):
        image_folder(str(photos), size=8)


def test_files_that_trade_places_are_decoded_again(tmp_path: Path, little_memory: Path) -> None:
    photos = tmp_path / "photos"
    for place, name in enumerate(("cat", "dog")):
        for number in range(10):
            picture(photos / name / f"{number}.ppm", 100 * place + number)
            os.utime(photos / name / f"{number}.ppm", (1, 1))
    before = np.array(image_folder(str(photos), size=8).train_x)
    for a, b in (("cat/3.ppm", "swap"), ("dog/3.ppm", "cat/3.ppm"), ("swap", "dog/3.ppm")):
        (photos / a).rename(photos / b)
    after = image_folder(str(photos), size=8)
    assert not np.array_equal(after.train_x, before)


def test_processes_that_want_the_same_images_wait_for_each_other(
    tmp_path: Path, little_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, decoded = fill(tmp_path / "photos", 20), []
    decode = vars(image_folder_module)["_decode"]
    monkeypatch.setattr(image_folder_module, "_decode", lambda *of: decoded.append(of) or decode(*of))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: np.array(image_folder(str(photos), size=8).train_x), range(4)))
    assert len(decoded) == 40 and all(np.array_equal(each, found[0]) for each in found)


def test_a_disk_without_room_is_said_before_anything_is_decoded(
    tmp_path: Path, little_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = fill(tmp_path / "photos", 5)

    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InputError, match=r"cannot be written there \(No space left on device\); make room"):
        image_folder(str(photos), size=8)
    assert not [*little_memory.rglob("*.npy"), *little_memory.rglob("*.part")]
