"""Where boards are: what `nas devices add` noted of each, in the user's settings on this machine.

Nothing else starts a command: an experiment names a device, and only who may write this file says how it is reached.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from hardware_profiles.registry import user_folder
from nas.devices.board.pipe import command_of
from nas.errors import InputError
from nas.process.files import atomic_write_json, read_json, understood

SCHEMA: Final = 1
#: How long a board may be silent.
DEADLINE_S: Final = 60.0
PYTHON: Final = "python3"
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


def write(boards: Mapping[str, Address]) -> None:
    """Replace the file, which nobody else may read: commands may name hosts and users."""
    atomic_write_json(path(), {"schema": SCHEMA, "boards": {name: asdict(each) for name, each in boards.items()}})
    os.chmod(path(), 0o600)


def _address(record: Mapping[str, Any]) -> Address:
    at, python, identity = record["at"], record["python"], record["identity"]
    if not isinstance(at, str) or not isinstance(python, str) or not isinstance(identity, dict):
        raise InputError("a board has a command, a Python and an identity")
    return Address(at, python, float(record["deadline_s"]), {str(key): str(value) for key, value in identity.items()})
