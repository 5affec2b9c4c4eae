"""Images in folders, one folder per class."""

import os
import reprlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latency_models.arrays import DAMAGED
from nas.errors import InputError
from nas.tasks.image_classification.dataset import Augmentation, Labels, RawData, check_class_names
from nas.tasks.image_classification.files import existing_folder
from nas.tasks.image_classification.preprocessing import resize
from nas.tasks.image_classification.source import Images, Source
from nas.tasks.image_classification.splits import split_off_test
from nas.tasks.image_classification.stored import stored

EXPECTED = "Expected PATH/<class>/<image> or PATH/train/<class>/<image> with PATH/test (or PATH/val)/<class>/<image>"
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
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


def image_folder(path: str, size: int) -> RawData:
    """Images uint8 [n, 3, size, size], a class per folder, cropped centrally to a square and resized to `size` pixels.

    With PATH/train, the test part is PATH/test or else PATH/val; PATH/val beside PATH/test joins the training part, as
    splits are made here. Without a test part a fifth is split off. Where the pixels, 3 size^2 bytes per image, are more
    than 256 MB, they are kept in the user's cache folder and read from there when needed.
    """
    folder = existing_folder(path, EXPECTED)
    if not 1 <= size <= MOST_SIDE:
        raise InputError(
            f"image_folder: size {reprlib.repr(size)}; give the side of the square in pixels, from 1 to {MOST_SIDE}"
        )
    train, test = [folder], []
    if (folder / "train").is_dir():
        others = [folder / name for name in ("test", "val") if (folder / name).is_dir()]
        train, test = [folder / "train", *others[1:]], others[:1]
    names = _classes(train[0])
    check_class_names(names, f"{train[0]}: folders of classes. {EXPECTED}")
    train_files, ignored = _files(train, names)
    test_files, ignored_test = _files(test, names)
    for part, files in ((train, train_files), (test, test_files)):
        if part and not files:
            raise InputError(f"{part[0]}: holds no images. {EXPECTED}; images are {', '.join(sorted(SUFFIXES))}")
    place = str(folder.absolute())
    x, y = _read(train_files, size, f"{place} train")
    parts = (x, y, *_read(test_files, size, f"{place} test")) if test else split_off_test(x, y)
    ignored += ignored_test
    notes = (f"{ignored} files that are no images in a folder of a class were ignored",) if ignored else ()
    name = f"image_folder {folder.name}"
    return RawData(*parts, class_names=names, name=name, notes=notes, augmentation=AUGMENTATION)


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))


def _files(folders: Sequence[Path], names: tuple[str, ...]) -> tuple[list[tuple[Path, int]], int]:
    """Every image below the folders with its class number, in the order of names, and how many other files."""
    images: list[tuple[Path, int]] = []
    found = 0
    for folder in folders:
        unknown = sorted(set(_classes(folder)) - set(names))
        if unknown:
            raise InputError(
                f"{folder / unknown[0]}: {unknown[0]!r} is no class of the training part, which has {len(names)}: "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}. {EXPECTED}"
            )
        for place, _, files in os.walk(folder):
            found += len(files)
            inside = Path(place).relative_to(folder).parts
            # Hidden files include the ._NAME.jpg that macOS leaves on other file systems.
            if inside and inside[0] in names:
                wanted = [name for name in files if name[0] != "." and Path(name).suffix.lower() in SUFFIXES]
                images += [(Path(place, name), names.index(inside[0])) for name in wanted]
    return sorted(images), found - len(images)


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
    """Decode the files into x [n, 3, size, size]."""
    from PIL import Image

    # Pillow's decoders and numpy's products release the interpreter's lock. A share of the files at a time, since what
    # is decoded ahead of what is stored is held in memory.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        # Too large for us comes before too large for Pillow, which would warn.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for begin in range(0, len(files), _AHEAD):
            some = files[begin : begin + _AHEAD]
            for place, image in enumerate(pool.map(lambda entry: _decode(entry[0], size), some), begin):
                x[place] = image


def _decode(file: Path, size: int) -> npt.NDArray[np.uint8]:
    """One image [3, size, size], upright after its EXIF orientation; transparency is dropped."""
    from PIL import Image, ImageOps

    # Whoever opens a pipe waits for somebody to write into it.
    if not file.is_file():
        raise InputError(f"{file}: is no regular file, or a link to nowhere; remove it")
    try:
        with Image.open(file) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(
                    f"{file}: has {image.width} x {image.height} pixels, and {MOST_PIXELS / 1e6:.0f} million are the "
                    "most that are read; make it smaller"
                )
            mode = image.mode
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(upright.convert("RGBA" if "transparency" in image.info else mode).convert("RGB"))
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{file}: {error}; make it smaller") from error
    except DAMAGED as error:
        raise InputError(f"{file}: is no image or a damaged one ({error}); repair or remove it") from error
    if mode[0] in "IF":
        raise InputError(f"{file}: has more than 8 bits per pixel (mode {mode}); convert it to 8 bits first")
    resized: npt.NDArray[np.uint8] = resize(pixels.transpose(2, 0, 1)[None], (size, size))[0]
    return resized
