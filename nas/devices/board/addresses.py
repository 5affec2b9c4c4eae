"""Where boards are: what `nas devices add` noted of each, in the user's settings on this machine.

Nothing else starts a command: an experiment names a device, and only who may write this file says how it is reached.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hardware_profiles.registry import user_folder
from nas.devices.board.pipe import command_of
from nas.errors import InputError
from nas.process.files import RunFolderError, atomic_path, read_json, sealed, understood, write_bytes
from nas.process.lock import lock

SCHEMA: Final = 1
#: How long a board may be silent.
DEADLINE_S: Final = 60.0
PYTHON: Final = "python3"
#: How long a change waits for another one, and how often it looks.
_WAIT_S: Final = 5.0
_PAUSE_S: Final = 0.02
_REMEDY: Final = "delete it, and add the boards again with `nas devices add`"


@dataclass(frozen=True)
class Address:
    """How a board is reached: the command `at`, the name of Python there, and how long it may be silent.

    `identity` tells the machine from others, as `hardware_profiles.host.identity` has it there.
    """

    at: str
    python: str = PYTHON
    deadline_s: float = DEADLINE_S
    identity: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not 0 < self.deadline_s < float("inf"):
            raise InputError(f"a deadline of {self.deadline_s} s: give a number of seconds above 0")
        try:
            command_of(self.at, self.python)
        except ValueError as error:
            raise InputError(
                f"{self.at!r} is no command that gives a pipe ({error}); write one such as `ssh pi@raspi`"
            ) from None


def path() -> Path:
    """The file of addresses."""
    return user_folder().parent / "boards.json"


def known() -> dict[str, Address]:
    """All boards by name; raises InputError for a file that cannot be read."""
    if not path().exists():
        return {}
    record = read_json(path(), _REMEDY)
    with understood(path(), _REMEDY):
        if record["schema"] != SCHEMA:
            raise InputError(f"schema {record['schema']!r}; this version reads {SCHEMA}")
        return {str(name): _address(each) for name, each in record["boards"].items()}


@contextlib.contextmanager
def held() -> Iterator[dict[str, Address]]:
    """All boards by name, while nobody else changes the file, nor the profiles beside it; raises InputError."""
    folder, until = path().parent, time.monotonic() + _WAIT_S
    while True:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = lock(folder)
            break
        except RunFolderError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise _closed(folder, error.__cause__) from None
            if time.monotonic() > until:
                raise InputError(f"another command changes {path()}; wait until it has ended, and try again") from None
            time.sleep(_PAUSE_S)
        except OSError as error:
            raise _closed(folder, error) from None
    try:
        yield known()
    finally:
        os.close(descriptor)


def write(boards: Mapping[str, Address]) -> None:
    """Replace the file, which nobody else may read at any time: commands may name hosts and users."""
    record = sealed({"schema": SCHEMA, "boards": {name: asdict(each) for name, each in boards.items()}})
    with atomic_path(path()) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # it may be there already
            write_bytes(descriptor, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())
        finally:
            os.close(descriptor)


def _closed(folder: Path, error: BaseException | None) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else error
    return InputError(
        f"boards cannot be noted in {folder}: {reason}; give access to it, or name another folder by XDG_CONFIG_HOME"
    )


def _address(record: Mapping[str, Any]) -> Address:
    at, python, identity = record["at"], record["python"], record["identity"]
    if not isinstance(at, str) or not isinstance(python, str) or not isinstance(identity, dict):
        raise InputError("a board has a command, a Python and an identity")
    return Address(at, python, float(record["deadline_s"]), {str(key): str(value) for key, value in identity.items()})
