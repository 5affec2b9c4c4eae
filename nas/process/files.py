"""How bytes reach the disk.

A run can be killed at any instant. Whole files are written beside their place and moved into it, so that what is on
disk is either the old file or the new one; logs grow by whole lines, and a line without its newline was never written.
Every byte of the project goes to disk through `write_bytes`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from nas.errors import InputError

#: What the name of a file begins with that is not complete yet.
TEMPORARY = ".tmp-"
#: The key of a record's checksum.
CHECKSUM: Final = "@crc32"
#: The key of the number that a line of a log had when it was written, from 1 on.
LINE: Final = "@line"


class RunFolderError(InputError):
    """A folder cannot be used or written; the message says the path, why, and how to go on."""


def write_bytes(descriptor: int, data: bytes) -> None:
    """Write all of `data` to an open file; the one place where the project's bytes reach a disk. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path, with the same suffix, to a library that writes files itself; on success it becomes `path`.

    Raises RunFolderError when the disk refuses; `path` is then what it was before.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise _refused(path, error, "the previous version of the file, if any, is intact") from error
    finally:
        # Gone already after os.replace; on a failure its space is what the user needs back.
        with contextlib.suppress(OSError):
            temporary.unlink()


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Make `data` the content of `path`, or leave `path` as it was; creates its folder. Raises RunFolderError."""
    with atomic_path(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            write_bytes(descriptor, data)
        finally:
            os.close(descriptor)


def atomic_write_text(path: Path, text: str) -> None:
    """Make `text`, as UTF-8, the content of `path`, or leave `path` as it was. Raises RunFolderError."""
    atomic_write_bytes(path, text.encode())


def atomic_write_json(path: Path, value: object) -> None:
    """Make `value` the content of `path` as indented JSON (see `plain`), or leave `path` as it was.

    An object gets its checksum (see `sealed`).
    """
    value = sealed(value) if isinstance(value, Mapping) else plain(value)
    atomic_write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def append_jsonl(path: Path, records: Iterable[Mapping[str, object]]) -> None:
    """Append one line of JSON (see `sealed`) per record in a single write, after removing a torn last line.

    Each has its number, so that lines that are lost are seen. On disk when it returns. Raises RunFolderError when the
    disk refuses; the file then ends where it ended before. Several processes may append: one at a time does.
    """

    def lines(descriptor: int, end: int) -> bytes:
        numbered = enumerate(records, start=1 + _lines(descriptor, end))
        return "".join(to_line(sealed({**record, LINE: number})) + "\n" for number, record in numbered).encode()

    append_lines(path, lines)


def append_lines(path: Path, lines: Callable[[int, int], bytes]) -> None:
    """Append in a single write what `lines` makes of the open file and the place where its whole lines end.

    What follows that place is torn and goes. Safety and errors are those of `append_jsonl`.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
            end = _end_of_lines(descriptor)
            data = lines(descriptor, end)
            if end == 0:
                _sync(path.parent)  # the file may be new, and its name must survive as its lines do
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
            try:
                write_bytes(descriptor, data)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refused(path, error, "the lines before are intact") from error


@contextlib.contextmanager
def understood(path: Path | str, remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file's bytes become values into InputError with path, reason and `remedy`.

    What is put in it reads and nothing else. An InputError keeps its own remedy and gets the path.
    """
    from latency_models.arrays import DAMAGED

    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except KeyError as error:
        raise InputError(f"{path} lacks {error.args[0]!r}; {remedy}") from error
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read ({error or type(error).__name__}); {remedy}") from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read the JSON object in `path`; raises InputError with path, reason and `remedy` for anything else."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict):
            return unsealed(record)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); {remedy}") from error
    raise InputError(f"{path} holds {str(record)[:40]!r}, and it must be a JSON object; {remedy}")


def read_jsonl(path: Path) -> tuple[dict[str, Any], ...]:
    """Read the records of `path`, () where it does not exist; a last line without newline is torn and left out.

    Raises InputError naming file and line for anything else that is not one JSON object per line, and where lines are
    missing before one; those of older releases, and such as others write, have no number.
    """
    if not path.exists():
        return ()
    *lines, rest = path.read_bytes().split(b"\n")
    # Torn is what begins as a line does, or what a file system filled with zeros.
    if rest and rest[:1] not in (b"{", b"\0"):
        raise InputError(f"{path} ends with {rest[:40]!r}, which is no torn line; the file was damaged: restore it")
    return tuple(_record(path, number, line) for number, line in enumerate(lines, start=1))


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
        content = unsealed(record) if isinstance(record, dict) else None
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}, line {number} is not JSON ({error}); the file was damaged or edited: "
            "restore it, or delete this line and all after it and continue with --resume"
        ) from error
    if content is None:
        raise InputError(f"{path}, line {number} is {line[:40]!r}, and every line must be a JSON object")
    _require_place(path, number, record.get(LINE, number))
    return content


def _require_place(path: Path, number: int, written: object) -> None:
    if written != number:
        lost = f": {written - number} before it are missing" if isinstance(written, int) and written > number else ""
        raise InputError(
            f"{path}, line {number} is what was written as line {str(written)[:20]}{lost}; restore the file, or delete "
            f"this line and all after it and continue with --resume (of lines that you chose take {LINE} and "
            f"{CHECKSUM} out)"
        )


def sealed(record: Mapping[str, object]) -> dict[str, Any]:
    """A record as JSON has it (see `plain`) and, last, its checksum: the CRC-32 of all the rest."""
    content: dict[str, Any] = {key: value for key, value in plain(record).items() if key != CHECKSUM}
    return {**content, CHECKSUM: _checksum(content)}


def unsealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without its checksum and line number; raises ValueError where the checksum is that of another one.

    Records of older releases, and such as others write, have none.
    """
    content = dict(record)
    written = content.pop(CHECKSUM, None)
    if written is None and (spoilt := next((key for key in content if _is_nearly(key)), None)):
        raise ValueError(f"it is not what was written: it has {spoilt!r} in the place of {CHECKSUM}")
    if written is not None and written != _checksum(content):
        raise ValueError(
            f"it is not what was written: its {CHECKSUM} is of another content; whoever edits takes it out"
        )
    content.pop(LINE, None)
    return content


def _is_nearly(key: str) -> bool:
    """Whether one letter of a key is another one than the checksum's has: without its name it would count for none."""
    return len(key) == len(CHECKSUM) and sum(map(str.__ne__, key, CHECKSUM)) == 1


def _checksum(content: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(to_line(content).encode()):08x}"


def to_line(record: Mapping[str, object]) -> str:
    """Write one record as one line of JSON, keys in their order, without the newline."""
    return json.dumps(plain(record), separators=(",", ":"), allow_nan=False)


def plain(value: object) -> Any:
    """Turn `value` into what JSON knows: arrays and tuples become lists, paths text, and inf and nan null."""
    if hasattr(value, "tolist"):  # a NumPy scalar or array, without importing NumPy here
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, os.PathLike) else value


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(descriptor: int, end: int, block: int = 1 << 20) -> int:
    """How many lines end at a position or before it."""
    return sum(os.pread(descriptor, min(block, end - at), at).count(b"\n") for at in range(0, end, block))


def _end_of_lines(descriptor: int, block: int = 1 << 16) -> int:
    """The position after the last newline, 0 if there is none: whatever follows it is a torn line."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - block)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; their rename is as durable as they make it.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


def _refused(path: Path, error: OSError, intact: str) -> RunFolderError:
    if not path.parent.is_dir():
        return RunFolderError(f"cannot write {path}: its folder was removed meanwhile; restore it, or start anew")
    try:
        free = f", {shutil.disk_usage(path.parent).free / 2**20:.0f} MiB free"
    except OSError:
        free = ""
    return RunFolderError(
        f"cannot write {path}: {error.strerror or error}{free}; {intact} and nothing was lost: "
        "make room or give access, then continue with --resume"
    )
