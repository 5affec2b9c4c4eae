"""A Ray cluster of this machine alone, for as long as the process that asks for it.

    python -m nas.process.ray_alone

is that cluster: it writes a line with its address and with what has to stand in the environment of who comes to it,
such as the token, and ends when its input does. A process of its own, since Ray forks to begin others, and who has
loaded XLA must not fork.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from nas.errors import InputError
from nas.process.files import write_bytes
from nas.process.ray_cluster import RAYS, connected

_PROGRAM: Final = "nas.process.ray_alone"
_ENDS_WITHIN_S: Final = 20.0
_LAST_WORDS: Final = 4096
_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True)
class Alone:
    """Where the cluster is, and what has to stand in the environment of who comes to it."""

    address: str
    needed: Mapping[str, str]


_process: subprocess.Popen[bytes] | None = None
_alone: Alone | None = None


def alone() -> Alone:
    """The one of this process, begun where there is none yet, or none any more.

    Raises InputError where it cannot be begun.
    """
    global _process, _alone
    if _alone is None or _process is None or _process.poll() is not None:
        _process, _alone = _begun()
        atexit.register(_end, _process)
    return _alone


def _begun() -> tuple[subprocess.Popen[bytes], Alone]:
    packages = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    # What it says goes to a file: nobody would read a pipe in time.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _PROGRAM], env={**os.environ, "PYTHONPATH": packages},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, process_group=0,
        )  # fmt: skip
        assert process.stdout is not None
        with process.stdout as output:
            written = output.readline()
        if not written:
            _end(process)
            raise InputError(f"Ray cannot be started on this machine: {_last_words(said)}")
    return process, Alone(**json.loads(written))


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _LAST_WORDS))
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()


def main() -> None:
    """Begin one, and end it when the input ends."""
    # Nothing else goes where the line is waited for, whatever Ray has to say.
    told = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    cluster = connected(None)
    import ray

    needed = {name: value for name, value in os.environ.items() if name.startswith(RAYS)}
    line = json.dumps({"address": ray.get_runtime_context().gcs_address, "needed": needed})
    write_bytes(told, f"{line}\n".encode())
    os.close(told)
    sys.stdin.read()
    cluster.close()


if __name__ == "__main__":
    main()
