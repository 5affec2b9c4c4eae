"""Opening what the user named, and saying what was expected where it is not there."""

from pathlib import Path

from nas.errors import InputError


def expanded(path: str) -> Path:
    """`path` with ~ as the home folder; raises InputError where nobody knows which that is, or for no path at all."""
    if "\0" in path:
        raise InputError(f"{path!r} is no path: it holds a zero character")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: {error}; write the whole path") from error


def existing_folder(path: str, expected: str) -> Path:
    """`path` with ~ expanded; raises InputError with `expected` unless it is a folder."""
    folder = expanded(path)
    if folder.is_dir():
        return folder
    what = "is a file, not a folder" if folder.is_file() else "does not exist"
    raise InputError(f"{folder}: {what}. {expected}")


def read_bytes(file: Path, expected: str) -> bytes:
    """The file's content; raises InputError with `expected` when it is missing or unreadable."""
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: is no regular file. {expected}")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{file}: no such file. {expected}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}. {expected}") from error
