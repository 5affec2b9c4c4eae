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
from functools import cache
from pathlib import Path
from typing import Final

from nas.errors import InputError
from nas.process.ray_cluster import connected

_PROGRAM: Final = "nas.process.ray_alone"
_RAYS: Final = "RAY_"
_ADDRESS: Final = "address"
_ENDS_WITHIN_S: Final = 20.0


@cache
def address() -> str:
    """The address of the one of this process, begun where there is none yet; what it needs is in the environment then.

    Raises InputError where it cannot be begun.
    """
    packages = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", _PROGRAM], env={**os.environ, "PYTHONPATH": packages},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    written = process.stdout.readline()
    if not written:
        said = process.communicate()[1].strip().splitlines()
        raise InputError(f"Ray cannot be started on this machine: {said[-1] if said else 'it says nothing'}")
    atexit.register(_end, process)
    found: dict[str, str] = json.loads(written)
    os.environ.update({name: value for name, value in found.items() if name != _ADDRESS})
    return found[_ADDRESS]


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()


def main() -> None:
    """Begin one, and end it when the input ends."""
    cluster = connected(None)
    import ray

    needed = {name: value for name, value in os.environ.items() if name.startswith(_RAYS)}
    sys.stdout.write(json.dumps({_ADDRESS: ray.get_runtime_context().gcs_address, **needed}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.close()


if __name__ == "__main__":
    main()
