"""Opening what the user named, and saying what was expected where it is not there."""

from pathlib import Path

from nas.errors import InputError


def existing_folder(path: str, expected: str) -> Path:
    """Return `path` with ~ expanded; raises InputError with `expected` unless it is a folder."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    what = "is a file, not a folder" if folder.is_file() else "does not exist"
    raise InputError(f"{folder}: {what}. {expected}")


def read_bytes(file: Path, expected: str) -> bytes:
    """Return the file's content; raises InputError with `expected` when it is missing or unreadable."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{file}: no such file. {expected}") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}. {expected}") from error
