"""A board to test with, without a board: an unprivileged user of this machine, reached through a real sshd.

Its home holds a copy of this interpreter with numpy and ONNX Runtime alone. The server listens on 127.0.0.1, lets
nobody else in, and is gone with its user and its files afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

#: All that the board's Python has.
PACKAGES: Final = ("numpy", "onnxruntime")
#: Where Debian's sshd gives up its rights; its service makes the folder, and there is no service here.
_EMPTY: Final = Path("/run/sshd")
_START_S: Final = 10.0
_NOT_NEEDED: Final = shutil.ignore_patterns("site-packages", "dist-packages", "test", "tests", "config-*", "idlelib")


@dataclass(frozen=True)
class Board:
    """A machine over ssh: `f"{command} python3 ..."` is run there by its shell as `user`."""

    command: str
    python: str
    user: str
    uid: int
    home: Path

    def end_all(self) -> None:
        """Kill whatever the user runs, and so every connection, as if the plug had been pulled."""
        for process in _processes(self.uid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def missing() -> str:
    """Why there can be no such board here, or nothing."""
    if os.geteuid() != 0:
        return "only root can make an unprivileged user"
    needed = ("/usr/sbin/sshd", "ssh", "ssh-keygen", "useradd", "userdel", "setpriv")
    absent = [Path(name).name for name in needed if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed (apt-get install openssh-server)" if absent else ""


@contextmanager
def board() -> Iterator[Board]:
    """Make the user and start the server, which takes about two seconds; `missing()` must be empty."""
    user = f"hwnas-{secrets.token_hex(4)}"
    with TemporaryDirectory(prefix="hwnas-sshd-") as place:
        folder, home = Path(place), Path(place) / "home"
        folder.chmod(0o755)  # the user has to reach its home in it
        with _account(user, home):
            python = copy_python(home / "python")
            _make_keys(folder, home)
            _run("chown", "--recursive", f"{user}:", str(home))
            with _server(folder, user, python) as port:
                command = (
                    f"ssh -F none -i {folder}/user_key -p {port} -o IdentitiesOnly=yes -o BatchMode=yes "
                    f"-o LogLevel=ERROR -o UserKnownHostsFile={folder}/known_hosts -o HostKeyAlias=board "
                    f"{user}@127.0.0.1"
                )
                made = Board(command, str(python), user, home.stat().st_uid, home)
                try:
                    yield made
                finally:
                    made.end_all()


def copy_python(folder: Path) -> Path:
    """Copy this interpreter and `PACKAGES`, for one who may not read where it stands; returns `bin/python3`."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = folder / "lib" / version
    shutil.copytree(sysconfig.get_path("stdlib"), library, symlinks=True, ignore=_NOT_NEEDED)
    for shared in Path(sysconfig.get_config_var("LIBDIR")).glob(f"lib{version}*.so*"):
        shutil.copy2(shared, folder / "lib")
    (folder / "bin").mkdir()
    shutil.copy2(Path(sysconfig.get_config_var("BINDIR")) / version, folder / "bin")
    python = folder / "bin" / "python3"
    python.symlink_to(version)
    for package in PACKAGES:
        found = distribution(package)
        for name in sorted({file.parts[0] for file in found.files or ()} - {".."}):
            shutil.copytree(str(found.locate_file(name)), library / "site-packages" / name, ignore=_NOT_NEEDED)
    return python


@contextmanager
def _account(user: str, home: Path) -> Iterator[None]:
    """A user who can log in with a key and with no password: that is what `*` means; `!` would lock keys out too."""
    _run("useradd", "--system", "--no-create-home", f"--home-dir={home}", "--shell=/bin/sh", "--password=*", user)
    try:
        yield
    finally:
        _run("userdel", "--force", user)


def _make_keys(folder: Path, home: Path) -> None:
    for name in ("host_key", "user_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "known_hosts").write_text("board " + (folder / "host_key.pub").read_text())
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "authorized_keys").write_text((folder / "user_key.pub").read_text())


@contextmanager
def _server(folder: Path, user: str, python: Path) -> Iterator[int]:
    """sshd on a free port of 127.0.0.1, for one user and one key; `python3` is that user's own."""
    _EMPTY.mkdir(mode=0o755, exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"""\
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
AllowUsers {user}
AuthenticationMethods publickey
AuthorizedKeysFile .ssh/authorized_keys
UsePAM no
PrintMotd no
SetEnv PATH={python.parent}:/usr/bin:/bin LD_LIBRARY_PATH={python.parents[1]}/lib
"""
    )
    port = _free_port()
    with (folder / "sshd.log").open("w") as log:
        # It ends with this process, however that ends.
        server = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "/usr/sbin/sshd", "-D", "-e", "-f", str(config), "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _await(server, port, folder / "sshd.log")
        yield port
    finally:
        server.terminate()
        server.wait(_START_S)


def _await(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return as soon as sshd greets; raises RuntimeError with its own words if it ends or takes too long."""
    until = time.monotonic() + _START_S
    while server.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0) as link:
            if link.recv(4) == b"SSH-":
                return
        time.sleep(0.02)
    raise RuntimeError(f"sshd does not answer on port {port}: {log.read_text().strip()}")


def _free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        port = any_port.getsockname()[1]
    assert isinstance(port, int)
    return port


def _processes(uid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal() and entry.stat().st_uid == uid:
                found.append(int(entry.name))
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")
