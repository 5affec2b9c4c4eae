"""Commands of a fuzzer's cases, in this process and as processes of their own: exit code, output, and a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

import fuzz_files

ROOT: Final = Path(__file__).parents[1]


def here(command: tuple[str, ...]) -> tuple[int, str, str]:
    """Exit code, output, and the traceback if there was one, of a command in this process."""
    from nas.cli.main import main

    said, code, left = io.StringIO(), 1, _Left()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), left:
        if command[0] == fuzz_files.BUNDLE:
            code, printed = fuzz_files.run_bundle(command[1:])
            said.write(printed)
        else:
            code = main(command)
    if isinstance(left.error, SystemExit):
        return left.error.code if isinstance(left.error.code, int) else 1, said.getvalue(), ""
    return code, said.getvalue(), "".join(traceback.format_exception(left.error)) if left.error else ""


class _Left:
    """A context that keeps whatever leaves it: that there is something is a finding."""

    error: BaseException | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True


def apart(command: tuple[str, ...]) -> tuple[int, str, str]:
    """The same of the real command."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = ["-P", "-m", "nas", *command]
    if command[0] == fuzz_files.BUNDLE:
        program = [f"{command[1]}/{fuzz_files.BUNDLE}", *command[2:]]
    done = subprocess.run(
        [sys.executable, *program],
        capture_output=True, text=True, errors="replace", check=False, env=environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    code = done.returncode
    return code, done.stdout + done.stderr, f"ended with {code}" if code not in (0, 2, 3, 4) else ""
