"""Files in a folder of images that nobody should wait for: refused in a moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from nas.errors import InputError
from nas.tasks.image_classification.image_folder import image_folder


def fill(folder: Path, n: int) -> Path:
    """Two classes of `n` images each, all different."""
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir()
        for i in range(n):
            Image.new("RGB", (9, 9), (9 * i, 200 * label, i)).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.parametrize("what", ["pipe", "device", "link to nowhere", "folder"])
def test_nobody_waits_for_what_is_no_file(what: str, tmp_path: Path) -> None:
    file = fill(tmp_path, 20) / "cat" / "x.jpg"
    if what == "pipe":
        os.mkfifo(file)
    elif what == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if what == "device" else "nowhere")
    if what == "folder":
        assert len(image_folder(str(tmp_path), size=8).train_y) > 9
        return
    with pytest.raises(InputError, match=r"x\.jpg: is (no file but a pipe|a link to nowhere)"):
        image_folder(str(tmp_path), size=8)


def test_an_image_of_too_many_pixels_is_not_unpacked(tmp_path: Path) -> None:
    Image.new("1", (13_000, 13_000)).save(fill(tmp_path, 20) / "cat" / "large.png")
    with pytest.raises(InputError, match=r"large\.png: has more than 67,108,864 pixels; make it smaller"):
        image_folder(str(tmp_path), size=8)


@pytest.mark.parametrize("size", [0, -1, 100_000, 10**400])
def test_a_size_that_no_input_has_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the side of the square in pixels, from 1 to 4096"):
        image_folder(str(fill(tmp_path, 20)), size=size)
