"""How is a Ray cluster come by: one that runs, or one of this machine alone, and what machines does it have?

Ray's ports let whoever reaches them run programs. So a token is required of a cluster that runs, and one that is begun
here has a fresh one, listens on the loopback interface alone, and ends with this process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nas.errors import InputError
from nas.process import ray_folder
from nas.process.facts import cores_used
from nas.process.interrupt import stop_if_asked

#: The cluster that runs on this machine, whatever its address is.
AUTO: Final = "auto"
#: What the names of variables begin with that Ray reads.
RAYS: Final = "RAY_"
_MODE, _TOKEN, _TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_DEFAULT_TOKEN_PATH: Final = "~/.ray/auth_token"
_ADDRESS: Final = re.compile(r"(?:\[(?P<bracketed>[^]]+)\]|(?P<plain>[^:/\s]+)):(?P<port>\d{1,5})")
_LAST_PORT: Final = 65535
#: What a client says first in HTTP/2 (RFC 9113, 3.4), with settings that are empty, and where a frame says its kind.
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME_BYTES, _FRAME_KIND, _SETTINGS = 9, 3, b"\x04"
#: With it Ray speaks that within TLS.
_TLS: Final = "RAY_USE_TLS"
#: A cluster may be starting; whoever listens may be loaded.
_LISTENS_WITHIN_S, _ANSWERS_WITHIN_S = 10.0, 60.0
_POLL_S: Final = 0.2
_ASKED: Final = Path(__file__).with_name("ray_asked.py")
#: How Ray tries to reach a cluster when it is asked whether it answers: by itself, it takes minutes to give up.
_BRIEFLY: Final = {"RAY_NUM_REDIS_GET_RETRIES": "3", "RAY_gcs_server_request_timeout_seconds": "10"}
#: A cluster of this machine alone listens on the loopback interface alone, as Ray does where it knows no clusters. Its
#: cells do not come after all else that runs here, as Ray would have it, since that disturbs what they measure.
_ALONE: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}
#: Cells go by files: Ray's store of objects is as small as it may be.
_STORE_BYTES: Final = 80 * 2**20
#: What Ray says where something is wrong, and what that means.
_MEANINGS: Final = (
    (
        ("InvalidAuthToken", "nauthenticated", "AuthenticationError"),
        f"refuses the token: set {_TOKEN} to the one that the cluster was started with",
    ),
    (
        ("No node info found", "Failed to get node info"),
        "does not have this machine among its own: give the command on one of them, such as the head",
    ),
    (
        ("Could not find any running Ray",),
        "is not there: no Ray runs on this machine; start it, give its HOST:PORT, or leave --address out",
    ),
    (("Version mismatch",), "has another version of Ray or of Python than this machine: install the same on all"),
)


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, with what it has by Ray's names."""

    id: str
    name: str
    resources: Mapping[str, float]

    def room(self, demand: Mapping[str, int]) -> int:
        """How many times at once it has what is asked for."""
        return min(int(self.resources.get(name, 0.0) // count) for name, count in demand.items())


class Cluster:
    """A connection of this process to a cluster; `close` gives it back, and does all else that its `ending` has."""

    def __init__(self, address: str, ending: contextlib.ExitStack | None = None) -> None:
        self.address, self._ending = address, ending or contextlib.ExitStack()

    def nodes(self) -> Sequence[Node]:
        """The machines that answer now."""
        import ray

        alive = (each for each in ray.nodes() if each["Alive"])
        return [Node(each["NodeID"], each["NodeManagerHostname"], each["Resources"]) for each in alive]

    def close(self) -> None:
        """Leave the cluster, and end it where it was begun for this; closing twice does nothing."""
        self._ending.close()


def connected(address: str | None, needed: Mapping[str, str] | None = None) -> Cluster:
    """The cluster at an address (`auto`, or HOST:PORT), or else one that is begun here.

    What is `needed` stands in the environment until it is left; all that Ray reads there is then what it was before, so
    that another one can be used. Raises InputError where Ray is not installed, and for a cluster that is not there,
    refuses the token or needs none.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError("the executor ray needs Ray, which is not installed: pip install 'hwnas[ray]'")
    address = address or os.environ.get("RAY_ADDRESS")
    with contextlib.ExitStack() as undo:
        undo.callback(_restore, _rays())
        os.environ.update(needed or {})
        if address is None:
            _begin(undo)
        else:
            _join(address, undo)
        return Cluster(address or "this machine", undo.pop_all())


def _begin(undo: contextlib.ExitStack) -> None:
    os.environ.update({_MODE: "token", _TOKEN: secrets.token_hex(32), **_ALONE})
    # Ray keeps its own log there.
    folder, take_away = ray_folder.taken()
    undo.callback(take_away)
    _connect(
        "a Ray cluster of this machine alone",
        undo,
        address="local",
        num_cpus=len(cores_used()),
        include_dashboard=False,
        object_store_memory=_STORE_BYTES,
        _temp_dir=str(folder),
    )


def _join(address: str, undo: contextlib.ExitStack) -> None:
    _require_address(address)
    _require_token(address)
    if address != AUTO:
        _require_listening(address)
    _require_answer(address)
    _connect(f"the Ray cluster at {address}", undo, address=address)


def _rays() -> dict[str, str]:
    """What stands in the environment for Ray."""
    return {name: value for name, value in os.environ.items() if name.startswith(RAYS)}


def _restore(before: Mapping[str, str]) -> None:
    for name in _rays():
        del os.environ[name]
    os.environ.update(before)


def _require_address(address: str) -> None:
    found = _ADDRESS.fullmatch(address)
    if address != AUTO and not (found and 0 < int(found["port"]) <= _LAST_PORT):
        raise InputError(f"the address of the Ray cluster is {address!r}; it must be auto, or such as 10.0.0.7:6379")


def _require_token(address: str) -> None:
    mode = os.environ.setdefault(_MODE, "token")
    if mode.lower() != "token":
        raise InputError(
            f"{_MODE} is {mode!r}: whoever reaches the ports of a Ray cluster without a token can run programs there; "
            f"start it with {_MODE}=token, and set the same here"
        )
    files = (os.environ.get(_TOKEN_PATH, ""), os.path.expanduser(_DEFAULT_TOKEN_PATH))
    if not os.environ.get(_TOKEN) and not any(map(os.path.isfile, files)):
        raise InputError(
            f"the Ray cluster at {address} is used with a token, and none is set: export {_TOKEN}=… with the one that "
            f"it was started with, or write it to {_DEFAULT_TOKEN_PATH}"
        )


def _require_listening(address: str) -> None:
    """Raise InputError where nobody listens at an address, not even after a while, or somebody who is not Ray."""
    found = _ADDRESS.fullmatch(address)
    assert found is not None
    host, port = found["bracketed"] or found["plain"], int(found["port"])
    end = time.monotonic() + _LISTENS_WITHIN_S
    while True:
        try:
            with socket.create_connection((host, port), timeout=max(_POLL_S, end - time.monotonic())) as listener:
                if not os.environ.get(_TLS):
                    _require_frames(listener)
            return
        except (OSError, UnicodeError) as error:  # no name of a machine is spelled like that
            if time.monotonic() + _POLL_S > end or isinstance(error, UnicodeError):
                why = getattr(error, "strerror", None) or error
                raise InputError(
                    f"the Ray cluster at {address} is not there ({why}): start it, give the address of one "
                    "that runs, or leave --address out for one of this machine alone"
                ) from error
        stop_if_asked()
        time.sleep(_POLL_S)


def _require_frames(listener: socket.socket) -> None:
    """Raise OSError for a listener that does not speak HTTP/2, as Ray does: it answers with its settings."""
    listener.sendall(_PREFACE)
    if listener.recv(_FRAME_BYTES)[_FRAME_KIND:][:1] != _SETTINGS:
        raise OSError("who listens there is not Ray")


def _require_answer(address: str) -> None:
    """Raise InputError where what listens there is no cluster that this machine and this token may use."""
    command = [sys.executable, "-P", str(_ASKED), address]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False, cwd="/",
            timeout=_ANSWERS_WITHIN_S, env={**os.environ, **_BRIEFLY},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"what listens at {address} did not answer as a Ray cluster within {_ANSWERS_WITHIN_S:.0f} s; give the "
            "address of the cluster's head"
        ) from error
    if done.returncode:
        raise InputError(f"the Ray cluster at {address} {_meaning(done.stderr)}")


def _meaning(said: str) -> str:
    """What is wrong with a cluster, as a part of a sentence."""
    for signs, meaning in _MEANINGS:
        if any(sign in said for sign in signs):
            return meaning
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"cannot be used ({lines[-1] if lines else 'it says nothing'}); see `ray status` there"


def _connect(what: str, undo: contextlib.ExitStack, **how: Any) -> None:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or else Ray warns that this will be the default
    loaded = "ray" in sys.modules
    import ray

    if ray.is_initialized():
        raise InputError(f"{what} cannot be used: this process is in another one; call ray.shutdown() first")
    if loaded:
        _heed_environment()
    heard = signal.getsignal(signal.SIGTERM)
    undo.callback(ray.shutdown)
    try:
        # Workers import from the folder that Ray is begun in, too: what lies there is not ours.
        with contextlib.chdir("/"):
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise InputError(f"{what} {_meaning(str(error))}") from error
    finally:
        signal.signal(signal.SIGTERM, heard)  # which Ray takes for itself


def _heed_environment() -> None:
    """Have Ray read again what it reads once, when it is loaded: how it proves who it is, and where it listens."""
    import ray

    constants: Any = ray._private.ray_constants
    constants.ENABLE_RAY_CLUSTER = constants.env_bool(constants.ENABLE_RAY_CLUSTERS_ENV_VAR, True)
    core: Any = ray._raylet
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()
