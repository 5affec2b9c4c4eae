"""Layouts of folders that are nearly right: understood, and what was decided is said, or refused."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.errors import InputError
from nas.tasks.image_classification.dataset import RawData
from nas.tasks.image_classification.folder_layout import role
from nas.tasks.image_classification.image_folder import image_folder
from tests.nas.small_runs import Command, small, write

CLASSES = ("cat", "dog")
#: Images of each class in every folder.
EACH = 6


def fill(folder: Path, names: tuple[str, ...] = CLASSES, n: int = EACH, suffix: str = "png") -> Path:
    """Different images of every class, none of which is elsewhere."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(n):
            picture(folder / name / f"{number}.{suffix}")
    return folder


def picture(file: Path) -> None:
    rng = np.random.default_rng(list(str(file).encode()))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).save(file, format="PNG")


def counts(raw: RawData) -> tuple[list[int], list[int]]:
    """Training and test images of each class."""
    return np.bincount(raw.train_y).tolist(), np.bincount(raw.test_y).tolist()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"), ("Training", "train"), ("TRAIN", "train"), ("train_set", "train"), ("TrainImages", "train"),
        ("valid", "val"), ("Validation", "val"), ("dev", "val"), ("eval", "val"), ("val2017", "val"),
        ("test", "test"), ("Testing", "test"), ("test-data", "test"), ("testset", "test"), ("test1", "test"),
        ("cat", None), ("contest", None), ("trainer", None), ("dataset", None), ("images", None), ("", None),
    ],
)  # fmt: skip
def test_names_of_parts(name: str, part: str | None) -> None:
    assert role(name) == part


@pytest.mark.parametrize(("train", "test"), [("Training", "Testing"), ("TRAIN", "TEST"), ("trainset", "test_set")])
def test_parts_by_other_names_of_the_kind(train: str, test: str, tmp_path: Path) -> None:
    for part in (train, test):
        fill(tmp_path / part)
    raw = image_folder(str(tmp_path), 6)
    assert raw.class_names == CLASSES and counts(raw) == ([EACH, EACH], [EACH, EACH]) and raw.notes == ()


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "dev", "eval"])
def test_images_for_validation_are_used_and_it_is_said_how(name: str, tmp_path: Path) -> None:
    for part in ("train", name):
        fill(tmp_path / part)
    raw = image_folder(str(tmp_path), 6)
    assert counts(raw) == ([EACH, EACH], [EACH, EACH])
    assert raw.notes == (f"{name} is the test part, since there is no other",)
    fill(tmp_path / "test")
    raw = image_folder(str(tmp_path), 6)
    assert counts(raw) == ([2 * EACH, 2 * EACH], [EACH, EACH])
    assert raw.notes == (f"{name} joins the training part; a run takes its own validation images from there",)


@pytest.mark.parametrize(
    ("folders", "expected", "said"),
    [
        (["archive/train", "archive/test"], ([6, 6], [6, 6]), "archive is the only folder with images"),
        (["seg_train/seg_train", "seg_test/seg_test"], ([6, 6], [6, 6]), "seg_train/seg_train is the only folder"),
        (["train/images", "test/images"], ([6, 6], [6, 6]), "train/images is the only folder there"),
        (["train", "test", "extra"], ([6, 6], [6, 6]), "images in 'extra' beside train are not used"),
        (["train"], ([5, 5], [1, 1]), ""),
        (["train", "__MACOSX", ".hidden"], ([5, 5], [1, 1]), ""),
    ],
)
def test_parts_deeper_or_beside_others(
    folders: list[str], expected: tuple[list[int], list[int]], said: str, tmp_path: Path
) -> None:
    for folder in folders:
        fill(tmp_path / folder)
    raw = image_folder(str(tmp_path), 6)
    assert raw.class_names == CLASSES and counts(raw) == expected
    assert any(said in note for note in raw.notes) if said else raw.notes == ()


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["train", "Training"], "'Training' and 'train' have the name of a training part"),
        (["train", "test", "Testing"], "'Testing' and 'test' have the name of a test part"),
        (["train", "val", "dev"], "any of 'dev' and 'val' could be the test part; name that one test"),
        (["test", "val"], "named as parts are 'test' and 'val', and none is the training part: name it train"),
        ([".", "test"], "named as parts are 'test', and none is the training part"),
        (["entrenamiento", "prueba"], "but each of them the folders 'cat' and 'dog': if these are the classes"),
        (["fold1/x", "fold2/x"], "hold no images, but each of them the folders 'cat' and 'dog'"),
        (["deep/images"], "holds one folder with images, 'deep'; if its folders are the classes, give"),
        (["train/fold1", "train/fold2", "test/fold1", "test/fold2"], "hold no images, but each of them"),
        (["train/images", "train/masks"], "hold no images, but each of them"),
        (["bullet train", "bus/x"], "may be a part by its name, or a class like"),
    ],
)
def test_folders_that_could_be_meant_otherwise_are_refused(folders: list[str], said: str, tmp_path: Path) -> None:
    for folder in folders:
        fill(tmp_path / folder)
    with pytest.raises(InputError, match=said):
        image_folder(str(tmp_path), 6)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["train/0.png", "test/0.png"], "named as parts are 'test' and 'train', which hold images and not folders"),
        (["cat/0.png", "dog/0.png", "test/0.png"], "named as parts are 'test', which hold images and not folders"),
        (["cat/train/0.png", "cat/test/0.png", "dog/train/0.png", "dog/test/0.png"], "put the classes into the parts"),
        (["train/cat/0.png", "train/dog/0.png", "test/emu/0.png"], "'emu' is no class of the training part"),
        (["train/cat/0.png", "train/dog/0.png", "test/Cat/0.png"], "'Cat' is no class of the training part"),
    ],
)
def test_images_where_classes_should_be_are_refused(files: list[str], said: str, tmp_path: Path) -> None:
    for file in files:
        picture(tmp_path / file)
    with pytest.raises(InputError, match=said):
        image_folder(str(tmp_path), 6)


@pytest.mark.parametrize(("names", "said"), [(("bus", "car", "train"), "train"), (("invalid", "valid"), "valid")])
def test_a_class_may_have_the_name_of_a_part(names: tuple[str, ...], said: str, tmp_path: Path) -> None:
    raw = image_folder(str(fill(tmp_path, names)), 6)
    assert raw.class_names == names
    assert raw.notes == (f"{said} holds images itself, so it is taken for a class",)


def test_classes_of_folders_are_said(tmp_path: Path) -> None:
    fill(tmp_path / "animals", ("cat", "dog"))
    fill(tmp_path / "vehicles", ("bus", "car"))
    raw = image_folder(str(tmp_path), 6)
    assert raw.class_names == ("animals", "vehicles") and sum(map(sum, counts(raw))) == 4 * EACH
    assert raw.notes == ("'animals' and 'vehicles' hold no images but folders, and each is one class with all that is "
                         "below it",)  # fmt: skip


def test_a_folder_for_the_images_of_each_class_is_usual(tmp_path: Path) -> None:
    for name in CLASSES:
        fill(tmp_path / name, ("images",))
    raw = image_folder(str(tmp_path), 6)
    assert raw.class_names == CLASSES and raw.notes == ()


def test_an_empty_class_of_the_test_part_is_no_mistake(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    (tmp_path / "test" / "emu").mkdir()
    assert image_folder(str(tmp_path), 6).class_names == CLASSES


@pytest.mark.parametrize("name", ["x.jfif", "x.JPE", "x.Png", "x.PNM", "noname", "x.jpg_large", "x.tmp"])
def test_an_image_is_known_by_its_name_or_by_what_it_begins_with(name: str, tmp_path: Path) -> None:
    picture(fill(tmp_path) / "cat" / name)
    assert sum(map(sum, counts(image_folder(str(tmp_path), 6)))) == 2 * EACH + 1


def test_images_that_are_left_out_are_counted_with_an_example(tmp_path: Path) -> None:
    fill(tmp_path)
    for name in ("beside.png", "cat/.ipynb_checkpoints/0.png", "cat/.hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "dog" / "raw.heic").write_bytes(b"something else")
    raw = image_folder(str(tmp_path), 6)
    assert sum(map(sum, counts(raw))) == 2 * EACH
    assert raw.notes == (
        f"images beside the folders of classes are not used (1, such as {tmp_path}/beside.png)",
        f"files that are no images were ignored (2, such as {tmp_path}/cat/.hidden.png)",
        f"images in hidden folders are not used (1, such as {tmp_path}/cat/.ipynb_checkpoints)",
    )


@pytest.mark.parametrize("link", ["dog", "dog/more", "dog/deep/more"])
def test_links_are_followed(link: str, tmp_path: Path) -> None:
    data = fill(tmp_path / "data", ("cat", "emu"))
    fill(tmp_path / "store", ("dog",))
    (data / link).parent.mkdir(parents=True, exist_ok=True)
    (data / link).symlink_to(tmp_path / "store" / "dog")
    (data / "emu" / "linked.png").symlink_to(tmp_path / "store" / "dog" / "0.png")
    raw = image_folder(str(data), 6)
    assert raw.class_names == ("cat", "dog", "emu") and raw.notes == ()
    assert sum(map(sum, counts(raw))) == 3 * EACH + 1


@pytest.mark.parametrize("to", [".", "..", "../..", "deep/..", "../dog/back"])
def test_links_that_lead_back_end(to: str, tmp_path: Path) -> None:
    """To the class itself, to all classes, to what holds them, and by way of another link."""
    data = fill(tmp_path / "data")
    (data / "cat" / "deep").mkdir()
    (data / "dog" / "back").symlink_to(data / "cat", target_is_directory=True)
    (data / "cat" / "loop").symlink_to(to, target_is_directory=True)
    raw = image_folder(str(data), 6)
    assert sum(map(sum, counts(raw))) in (2 * EACH, 3 * EACH)
    assert any("links lead to folders that were read already" in note for note in raw.notes)


def test_what_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    """A pipe is not opened: nobody writes into it."""
    fill(tmp_path)
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")
    os.mkfifo(tmp_path / "cat" / "pipe")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "dog" / "itself.png").symlink_to(tmp_path / "dog" / "itself.png")
    (tmp_path / "emu").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError) as told:
        image_folder(str(tmp_path), 6)
    said = str(told.value)
    assert said.startswith(f"{tmp_path}: 4 files cannot be used: ") and said.endswith("; repair or remove them")
    for name, why in (
        ("cat/pipe.jpg", "is no file but a pipe, a socket or a device"),
        ("dog/gone.png", "is a link to nowhere"),
        ("dog/itself.png", "cannot be read (Too many levels of symbolic links)"),
        ("emu", "is a link to nowhere"),
    ):
        assert f"{tmp_path / name}: {why}" in said


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    """Whatever it would take to decode it."""
    fill(tmp_path)
    for number in range(8):
        (tmp_path / "dog" / f"bomb{number}.png").write_bytes(_png(13_000, 13_000))
    with pytest.raises(InputError, match=r"8 files cannot be used: .*bomb0.png: has more than 67,108,864 pixels"):
        image_folder(str(tmp_path), 6)


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def test_an_image_that_would_run_another_program_is_no_image(tmp_path: Path) -> None:
    (fill(tmp_path) / "cat" / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(InputError, match=r"x\.png: is no image or a damaged one"):
        image_folder(str(tmp_path), 6)


def test_the_command_says_it_in_one_line_before_anything_is_written(nas: Command, tmp_path: Path) -> None:
    for part in ("entrenamiento", "prueba"):
        fill(tmp_path / "data" / part)
    file = write(tmp_path, small(data={"name": "image_folder", "path": str(tmp_path / "data"), "size": 8}))
    assert "name the parts train and test" in nas("run", file, "--out", "run").error
    assert not (tmp_path / "run").exists()
