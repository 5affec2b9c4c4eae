"""What lies in folders of images: which files are images, which are not, and what cannot be read.

Links are followed, as far as they lead somewhere new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["images", "folders", "others", "hidden"]

SUFFIXES: Final = frozenset(
    {
        ".apng", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png",
        ".pnm", ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
#: Folders that programs leave behind, beside hidden ones.
_LEFT_BEHIND: Final = frozenset(
    {"__macosx", "__pycache__", "@eadir", "$recycle.bin", "lost+found", "system volume information"}
)
#: What an image begins with whose name does not say so; of JPEG, PNG and GIF.
_BEGINNINGS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")


@dataclass(frozen=True)
class Folder:
    """One folder, by name: its `images`, `folders`, and what is left alone: `others` that are files, and `hidden` ones.

    `identity` says which folder it is, by whatever path it is reached.
    """

    path: Path
    identity: tuple[int, int]
    images: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()


class Tree:
    """Reads folders, each once; `unusable` says of what cannot be read why, by its path.

    `repeated` are links to folders that hold themselves, or were found by another way.
    """

    def __init__(self) -> None:
        self.unusable: dict[Path, str] = {}
        self.repeated: set[Path] = set()
        self._known: dict[Path, Folder] = {}

    def read(self, path: Path) -> Folder:
        """What lies in a folder; nothing, where it cannot be read."""
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def below(self, path: Path) -> Iterator[Folder]:
        """A folder and all those below it, each once, in the order of names."""
        # A link to where it came from leads to images of other classes.
        seen = {self.read(above).identity for above in path.parents if above in self._known}
        ahead = [path]
        while ahead:
            folder = self.read(ahead.pop())
            if folder.identity in seen:
                self.repeated.add(folder.path)
                continue
            seen.add(folder.identity)
            yield folder
            ahead += reversed(folder.folders)

    def holds_images(self, path: Path) -> bool:
        """Whether there is an image in a folder or below it."""
        return any(folder.images for folder in self.below(path))

    def _read(self, path: Path) -> Folder:
        found: dict[Kind, list[Path]] = {"images": [], "folders": [], "others": [], "hidden": []}
        try:
            about = path.stat()
            with os.scandir(path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            self.unusable[path] = f"cannot be read ({error.strerror})"
            # No other folder has this one's place.
            return Folder(path, (-1, len(self._known)))
        for entry in entries:
            kind = self._kind(entry)
            if kind is not None:
                found[kind].append(path / entry.name)
        lists = {kind: tuple(paths) for kind, paths in found.items()}
        return Folder(path, (about.st_dev, about.st_ino), **lists)

    def _kind(self, entry: os.DirEntry[str]) -> Kind | None:
        """Where an entry belongs; None for what cannot be used, which is noted."""
        path = Path(entry.path)
        named = path.suffix.lower() in SUFFIXES
        # Hidden files include the ._NAME.jpg that macOS leaves on other file systems.
        hidden = entry.name.startswith(".") or entry.name.casefold() in _LEFT_BEHIND
        try:
            if entry.is_dir():
                return "hidden" if hidden else "folders"
            if hidden:
                return "others"
            if entry.is_file():
                return "images" if named or _begins_like_an_image(path) else "others"
            path.stat()
            what = "is no file but a pipe, a socket or a device"
        except FileNotFoundError:
            what = "is a link to nowhere"
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
        else:
            if not named:
                return "others"
        if hidden:
            return "others"
        self.unusable[path] = what
        return None


def _begins_like_an_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            begin = file.read(12)
    except OSError:
        # Its name is not that of an image; nobody needs it.
        return False
    return begin.startswith(_BEGINNINGS) or (begin.startswith(b"RIFF") and begin.endswith(b"WEBP"))
