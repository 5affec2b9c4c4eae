"""Single files of a folder of images: modes, depths, orientations, damage."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.errors import InputError
from nas.tasks.image_classification.image_folder import image_folder
from tests.nas.tasks.image_classification.pictures import fill, picture


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_several_images_in_a_file_the_first_counts(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path / "train", 1)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "test" / "cat" / f"x.{suffix}", save_all=True, append_images=frames[1:])
    assert image_folder(str(tmp_path), size=8).test_x.min() > 250


def test_sixteen_bits_of_colour_become_eight(tmp_path: Path) -> None:
    fill(tmp_path / "train", 1)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    high = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    (tmp_path / "test" / "cat" / "x.ppm").write_bytes(b"P6 8 8 65535\n" + (high.astype(">u2") * 257).tobytes())
    np.testing.assert_array_equal(image_folder(str(tmp_path), size=8).test_x[0], high.transpose(2, 0, 1))


def test_all_damaged_images_are_told_at_once_up_to_a_number(tmp_path: Path) -> None:
    fill(tmp_path, 30)
    for number in range(3):
        (tmp_path / "cat" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(InputError) as told:
        image_folder(str(tmp_path), size=8)
    assert str(told.value).startswith(f"{tmp_path}: 3 files cannot be used: ")
    assert all(f"{number}.png: is no image or a damaged one" in str(told.value) for number in range(3))
    for number in range(30):
        (tmp_path / "dog" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"33 files cannot be used: .*; and 23 more; repair or remove them"):
        image_folder(str(tmp_path), size=8)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif"])
def test_a_damaged_image_is_named(tmp_path: Path, suffix: str, damage: str) -> None:
    fill(tmp_path, 6)
    file = tmp_path / "dog" / f"broken.{suffix}"
    picture(file, 1, (64, 64))
    content = {"truncated": file.read_bytes()[: file.stat().st_size // 2], "text": b"GIF this is not", "empty": b""}
    file.write_bytes(content[damage])
    with pytest.raises(InputError, match=rf"dog.broken\.{suffix}: is no image or a damaged one"):
        image_folder(str(tmp_path), size=8)


def test_sixteen_bits_are_refused_instead_of_clipped(tmp_path: Path) -> None:
    fill(tmp_path, 6)
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "cat" / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png: has more than 8 bits per pixel"):
        image_folder(str(tmp_path), size=8)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("P", "gif"), ("RGBA", "png"), ("CMYK", "jpg"), ("1", "bmp")]
)
def test_modes_become_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    fill(tmp_path / "train", 1)
    picture(tmp_path / "test" / "cat" / f"x.{suffix.upper()}", 3, (8, 8), mode)
    raw = image_folder(str(tmp_path), size=8)
    with Image.open(tmp_path / "test" / "cat" / f"x.{suffix.upper()}") as image:
        np.testing.assert_array_equal(raw.test_x[0], np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_a_palette_with_transparency_gives_no_warning(tmp_path: Path) -> None:
    fill(tmp_path / "train", 1)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8), "L").convert("P")
    image.save(tmp_path / "test" / "cat" / "x.png", transparency=bytes(range(64)))
    assert image_folder(str(tmp_path), size=8).test_x.shape == (1, 3, 8, 8)


def test_the_orientation_of_a_photograph_is_respected(tmp_path: Path) -> None:
    fill(tmp_path / "train", 1)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(pixels).save(tmp_path / "test" / "cat" / "x.png", exif=exif)
    top = image_folder(str(tmp_path), size=8).test_x[0, :, :4]
    assert (top == 0).all()
