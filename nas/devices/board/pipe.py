"""A command that gives a pipe to a Python elsewhere: starting it, and bytes to and fro with a deadline.

Whatever the command is (`ssh pi@raspi`, `adb shell`, `docker exec -i box`, a Python itself), its last words are only
`python3 -u -q -i`, which no shell on the way changes. That Python reads one line, says its version, and then reads our
program; what a login prints before is passed over.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import subprocess
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from nas.process.interrupt import stop_if_asked

#: The oldest Python that runs what is sent.
OLDEST: Final = (3, 8)
#: How Python is started there: unbuffered, without a banner, reading lines.
_INTERACTIVE: Final = ("-u", "-q", "-i")
_READY: Final = re.compile(rb"hwnas-board (\d+)\.(\d+) ready\n")
_LINE: Final = (
    "import os,sys;_=os.write(1,b'hwnas-'+b'board %d.%d ready\\n'%sys.version_info[:2]);exec('n={size};b=b\"\"\\n"
    "while len(b)<n:\\n a=os.read(0,n-len(b))\\n if not a: os._exit(0)\\n b+=a\\nimport json,zlib\\n"
    's=json.loads(zlib.decompress(b))\\nd={{}}\\nexec(compile(s["{main}"],"board.py","exec"),d)\\nd["main"](s)\')\n'
)
#: A login may print so much before Python answers.
_MOST_NOISE: Final = 1 << 18
#: How often a wait looks whether this program is asked to stop.
_POLL_S: Final = 0.2
#: Lines of what the command writes to standard error that are kept, and how long its last words are waited for.
_LINES_KEPT: Final = 50
_LAST_WORDS_S: Final = 0.5
_CHUNK: Final = 1 << 16


class PipeError(Exception):
    """The pipe does not do what it should; the text says what it did, in words that go after the board's name.

    `silent` says that it was waited for as long as it may be.
    """

    def __init__(self, text: str, silent: bool = False) -> None:
        super().__init__(text)
        self.silent = silent


def command_of(at: str, python: str) -> list[str]:
    """The command that starts an interactive Python: `at`, then `python` unless its last word is one already.

    Raises ValueError where `at` has no words, or quotes that do not end.
    """
    words = shlex.split(at)
    if not words:
        raise ValueError("there is no command")
    is_python = re.fullmatch(r"(?:python|pypy)[\d.]*(?:\.exe)?", PurePath(words[-1]).name) is not None
    return [*words, *([] if is_python else shlex.split(python)), *_INTERACTIVE]


class Pipe:
    """A started command; `deadline_s` is how long it may be silent."""

    def __init__(self, command: Sequence[str], deadline_s: float) -> None:
        self._command, self._deadline_s = command, deadline_s
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._partial = b""
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise PipeError(f"cannot be reached: {command[0]!r} cannot be started ({error.strerror})") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._in, self._out, self._err = (
            file.fileno() for file in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        for descriptor in (self._in, self._out, self._err):
            os.set_blocking(descriptor, False)
        self._read = bytearray()

    def start(self, sources: Mapping[str, str], main: str) -> tuple[int, int]:
        """Send a program, sources by module name of which `main` is begun with; returns the version of Python there.

        Raises PipeError where no Python answers, or one that is too old.
        """
        data = zlib.compress(json.dumps(dict(sources)).encode(), 9)
        self.write(_LINE.format(size=len(data), main=main).encode())
        version = self._ready()
        if version < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise PipeError(
                f"has Python {version[0]}.{version[1]}, and {wanted} or later is needed: name another one with --python"
            )
        self.write(data)
        return version

    def write(self, data: bytes, progress: Callable[[], object] | None = None) -> None:
        """Write all of it; raises PipeError where nothing is taken for as long as the deadline."""
        view = memoryview(data)
        last = time.monotonic()
        while view:
            stop_if_asked()
            _, ready, _ = select.select([], [self._in], [], _POLL_S)
            self._listen()
            if ready:
                try:
                    view = view[os.write(self._in, view[:_CHUNK]) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise self._ended() from None
                last = time.monotonic()
                if progress is not None:
                    progress()
            elif time.monotonic() - last > self._deadline_s:
                raise PipeError(f"takes nothing for {self._deadline_s:g} s{self._words()}", silent=True)

    def read(self, size: int) -> bytes:
        """So many bytes; raises PipeError where they do not come, or nothing comes for as long as the deadline."""
        while len(self._read) < size:
            self._more()
        found = bytes(self._read[:size])
        del self._read[:size]
        return found

    def close(self) -> None:
        """End the command, and whatever it started."""
        for file in (self._process.stdin, self._process.stdout, self._process.stderr):
            if file is not None:
                file.close()
        try:
            self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _ready(self) -> tuple[int, int]:
        while not (found := _READY.search(bytes(self._read))):
            if len(self._read) > _MOST_NOISE:
                raise PipeError(f"does not start Python: it writes {bytes(self._read[:60])!r} and more")
            self._more()
        del self._read[: found.end()]
        return int(found[1]), int(found[2])

    def _more(self) -> None:
        """Wait for more bytes."""
        last = time.monotonic()
        while True:
            stop_if_asked()
            ready, _, _ = select.select([self._out], [], [], _POLL_S)
            self._listen()
            if ready:
                some = os.read(self._out, 1 << 20)
                if not some:
                    raise self._ended()
                self._read += some
                return
            if time.monotonic() - last > self._deadline_s:
                raise PipeError(f"says nothing for {self._deadline_s:g} s{self._words()}", silent=True)

    def _listen(self) -> None:
        """Take in what the command writes to standard error, so that it is never stopped by it."""
        while select.select([self._err], [], [], 0)[0]:
            some = os.read(self._err, _CHUNK)
            if not some:
                return
            *lines, self._partial = (self._partial + some).split(b"\n")
            self._said += [line.decode(errors="replace").strip() for line in lines]

    def _ended(self) -> PipeError:
        try:
            code = self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            return PipeError(f"has closed its pipe{self._words()}")
        self._listen()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return PipeError(f"is gone: {shlex.join(self._command)} {how}{self._words()}")

    def _words(self) -> str:
        """The last that was written to standard error, without the prompts of Python."""
        lines = [*self._said, self._partial.decode(errors="replace").strip()]
        said = [text for line in lines if (text := re.sub(r"^(?:(?:>>>|\.\.\.)\s*)+", "", line).strip())]
        return f"; its last words: {said[-1][:300]}" if said else ""
