"""Images in folders, one folder per class."""

import contextlib
import os
import reprlib
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latency_models.arrays import DAMAGED
from nas.errors import InputError
from nas.tasks.image_classification.dataset import Augmentation, Labels, RawData, check_class_names
from nas.tasks.image_classification.files import existing_folder
from nas.tasks.image_classification.folder_layout import EXPECTED, classes, labelled, layout, left_alone, no_images
from nas.tasks.image_classification.folder_tree import Tree
from nas.tasks.image_classification.preprocessing import resize
from nas.tasks.image_classification.source import Images, Source
from nas.tasks.image_classification.splits import split_off_test
from nas.tasks.image_classification.stored import stored

#: Photos are what they were when mirrored.
AUGMENTATION = Augmentation(shift=4, flip=True)
#: The largest side of an input, and the most pixels of a file: unpacking more takes gigabytes and minutes.
MOST_SIDE, MOST_PIXELS = 4096, 2**26
#: More than that stays on disk.
IN_MEMORY_BYTES = 2**28
#: Counts up when files are decoded to other pixels than before.
_DECODING = 1
#: Images that are decoded before the next are begun.
_AHEAD = 1024
#: So many files that cannot be used are enough to know of at once.
_MOST_UNUSABLE = 10
#: An image of more pixels is decoded while no other large one is: its copies take hundreds of megabytes.
_LARGE_PIXELS = 2**24
#: What Pillow decodes itself; of other formats, some are handed to other programs.
_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_ONE_LARGE = threading.Lock()


def image_folder(path: str, size: int) -> RawData:
    """Images uint8 [n, 3, size, size], a class per folder, cropped centrally to a square and resized to `size` pixels.

    With PATH/train, the test part is PATH/test or else PATH/val; PATH/val beside PATH/test joins the training part, as
    splits are made here. These names may be others of the kind (`folder_layout`). Without a test part a fifth is split
    off. Where the pixels, 3 size^2 bytes per image, are more than 256 MB, they are kept in the user's cache folder and
    read from there when needed.
    """
    folder = existing_folder(path, EXPECTED)
    if not 1 <= size <= MOST_SIDE:
        raise InputError(
            f"image_folder: size {reprlib.repr(size)}; give the side of the square in pixels, from 1 to {MOST_SIDE}"
        )
    tree = Tree()
    found = layout(folder, tree)
    names = classes(found.train[0], tree)
    check_class_names(names, f"{found.train[0]}: folders of classes. {EXPECTED}")
    train, test = labelled(found.train, names, tree), labelled(found.test, names, tree)
    notes = (*found.notes, *left_alone((*found.train, *found.test), tree))
    if tree.unusable:
        raise _unusable(folder, tree.unusable)
    for part, files in ((found.train, train), (found.test, test)):
        if part and not files:
            raise no_images(part[0])
    place = str(folder.absolute())
    x, y = _read(train, size, f"{place} train")
    parts = (x, y, *_read(test, size, f"{place} test")) if found.test else split_off_test(x, y)
    name = f"image_folder {folder.name}"
    return RawData(*parts, class_names=names, name=name, notes=notes, augmentation=AUGMENTATION)


def _unusable(folder: Path, why: Mapping[Path, str]) -> InputError:
    """What to raise about files, each with the reason: as many as are of use in one line."""
    files = sorted(why)
    said = "; ".join(f"{file}: {why[file]}" for file in files[:_MOST_UNUSABLE])
    if len(files) == 1:
        return InputError(f"{said}; repair or remove it")
    more = f"; and {len(files) - _MOST_UNUSABLE} more" if len(files) > _MOST_UNUSABLE else ""
    return InputError(f"{folder}: {len(files)} files cannot be used: {said}{more}; repair or remove them")


def _read(files: Sequence[tuple[Path, int]], size: int, name: str) -> tuple[Source, Labels]:
    """The images of the files, and their labels; `name` says which part of what they are."""
    shape = (len(files), 3, size, size)
    labels = np.array([label for _, label in files], np.int32)
    if np.prod(shape) > IN_MEMORY_BYTES:
        made_of = f"{_DECODING} {metadata.version('pillow')} {size} {[_state(file) for file, _ in files]}"
        return stored(f"{name} {size}", made_of, shape, lambda x: _fill(x, files, size)), labels
    x = np.empty(shape, np.uint8)
    _fill(x, files, size)
    return x, labels


def _state(file: Path) -> tuple[str | int, ...]:
    """What changes when a file's content does, or when another takes its place."""
    try:
        found = file.stat()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}; repair or remove it") from error
    return str(file), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


def _fill(x: Images, files: Sequence[tuple[Path, int]], size: int) -> None:
    """Decode the files into x [n, 3, size, size]; raises InputError that names those that cannot be."""
    from PIL import Image

    why: dict[Path, str] = {}
    Image.init()
    # Pillow's decoders and numpy's products release the interpreter's lock. A share of the files at a time, since what
    # is decoded ahead of what is stored is held in memory. Of what Pillow finds strange in a file it can read, nothing
    # is said.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for begin in range(0, len(files), _AHEAD):
            some = files[begin : begin + _AHEAD]
            for place, image in enumerate(pool.map(lambda entry: _decode(entry[0], size), some), begin):
                if isinstance(image, str):
                    why[files[place][0]] = image
                else:
                    x[place] = image
            if len(why) >= _MOST_UNUSABLE:
                break
    if why:
        raise _unusable(Path(os.path.commonpath([file.parent for file, _ in files])), why)


def _decode(file: Path, size: int) -> npt.NDArray[np.uint8] | str:
    """One image [3, size, size], upright after its EXIF orientation, or why there is none.

    Transparency is dropped, and of several images in a file the first is taken.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
            if image.width * image.height > MOST_PIXELS:
                return f"has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}; make it smaller"
            mode = image.mode
            if mode[0] in "IF":
                return f"has more than 8 bits per pixel (mode {mode}); convert it to 8 bits first"
            with _ONE_LARGE if image.width * image.height > _LARGE_PIXELS else contextlib.nullcontext():
                upright = ImageOps.exif_transpose(image)
                pixels = np.asarray(upright.convert("RGBA" if "transparency" in image.info else mode).convert("RGB"))
                resized: npt.NDArray[np.uint8] = resize(pixels.transpose(2, 0, 1)[None], (size, size))[0]
                return resized
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"has more than {MOST_PIXELS:,} pixels; make it smaller"
    except DAMAGED as error:
        return f"is no image or a damaged one ({error})"
