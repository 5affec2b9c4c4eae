"""The board that tests reach over ssh is somebody else's: no rights, and none of our packages."""

from __future__ import annotations

import pwd
import shlex
import subprocess

from tests.boards.sshd import Board


def there(board: Board, code: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    line = [*shlex.split(board.command), f"python3 -c {shlex.quote(code)}"]
    return subprocess.run(line, input=data, capture_output=True, check=False, timeout=60)


def test_its_python_has_numpy_and_a_runtime_and_no_rights(over_ssh: Board) -> None:
    code = "import os, sys, numpy, onnxruntime; print(os.geteuid(), os.getcwd(), sys.executable)"
    done = there(over_ssh, code)
    assert done.returncode == 0, done.stderr.decode()
    uid, folder, python = done.stdout.decode().split()
    assert int(uid) == over_ssh.uid == pwd.getpwnam(over_ssh.user).pw_uid != 0
    assert folder == str(over_ssh.home) and python == over_ssh.python


def test_nothing_of_ours_is_installed(over_ssh: Board) -> None:
    names = ["nas", "search_spaces", "latency_models", "hardware_profiles", "jax", "onnx", "scipy", "yaml", "numpy"]
    code = f"from importlib.util import find_spec; print(*(name for name in {names} if find_spec(name)))"
    assert there(over_ssh, code).stdout == b"numpy\n"


def test_bytes_pass_as_they_are(over_ssh: Board) -> None:
    data = bytes(range(256)) * 4096
    done = there(over_ssh, "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", data)
    assert done.returncode == 0 and done.stdout == data and not done.stderr


def test_the_plug_can_be_pulled(over_ssh: Board) -> None:
    line = [*shlex.split(over_ssh.command), "echo here; sleep 60"]
    with subprocess.Popen(line, stdout=subprocess.PIPE) as link:
        assert link.stdout is not None and link.stdout.readline() == b"here\n"
        over_ssh.end_all()
        assert link.wait(10) != 0
    assert there(over_ssh, "print(1)").stdout == b"1\n"  # and it comes back
