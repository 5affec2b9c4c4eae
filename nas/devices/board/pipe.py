"""A command that gives a pipe to a Python elsewhere: starting it, and bytes to and fro with a deadline.

Whatever the command is (`ssh pi@raspi`, `adb shell`, `docker exec -i box`, a Python itself), its last words are only
`python3 -u -q -i`, which no shell on the way changes. That Python reads one line, says its version, and then reads our
program; what a login prints before is passed over.
"""

from __future__ import annotations

import contextlib
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
_READY: Final = re.compile(rb"hwnas-board (\d+)\.(\d+) ready(\r?)\n")
#: Whatever ends it is written to standard error, whose last words the host quotes; else Python would wait for lines.
_PROGRAM: Final = """\
try:
 n={size};b=b''
 while len(b)<n:
  a=os.read(0,n-len(b))
  if not a: os._exit(0)
  b+=a
 import json,zlib
 s=json.loads(zlib.decompress(b));d={{}}
 exec(compile(s['sources']['{main}'],'board.py','exec'),d)
 d['main'](**s)
except BaseException:
 import traceback;traceback.print_exc()
 os._exit(1)
"""
#: Python 2 understands it too, so that it can say its version.
_LINE: Final = "import os,sys;_=os.write(1,b'hwnas-'+b'board %d.%d ready\\n'%sys.version_info[:2]);exec({program!r})\n"
#: A login may print so much before Python answers.
_MOST_NOISE: Final = 1 << 18
#: What a Python older than 3.2 says to the way it is started.
_ANCIENT: Final = "Unknown option: -q"
#: While something takes longer than that there, there is a sign of life as often: threads that wake disturb readings.
_ALIVE_S: Final = 5.0
_SIGNS_PER_DEADLINE: Final = 4
#: How often a wait looks whether this program is asked to stop.
_POLL_S: Final = 0.2
#: Lines of what the command writes to standard error that are kept, and how long its last words are waited for.
_LINES_KEPT: Final = 50
_LINE_BYTES: Final = 1 << 12
_LAST_WORDS_S: Final = 0.5
_CHUNK: Final = 1 << 16
#: So many chunks of them are taken in at a time: who writes without end is not listened to without end.
_CHUNKS: Final = 64


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
        self._greeted = False
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
        alive_s = min(_ALIVE_S, self._deadline_s / _SIGNS_PER_DEADLINE)
        data = zlib.compress(json.dumps({"sources": dict(sources), "alive_s": alive_s}).encode(), 9)
        self.write(_LINE.format(program=_PROGRAM.format(size=len(data), main=main)).encode())
        version = self._ready()
        if version < OLDEST:
            raise PipeError(_too_old(f"Python {version[0]}.{version[1]}"))
        self._greeted = True
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
                raise self._silence("takes")

    def read(self, size: int) -> bytes:
        """So many bytes; raises PipeError where they do not come, or nothing comes for as long as the deadline."""
        while len(self._read) < size:
            self._more(time.monotonic() + self._deadline_s)
        found = bytes(self._read[:size])
        del self._read[:size]
        return found

    def close(self) -> None:
        """End the command, and whatever it started."""
        for file in (self._process.stdin, self._process.stdout, self._process.stderr):
            if file is not None:
                file.close()
        self._code()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _ready(self) -> tuple[int, int]:
        until = time.monotonic() + self._deadline_s  # of all that it writes before
        while not (found := _READY.search(bytes(self._read))):
            late = time.monotonic() > until
            if late or len(self._read) > _MOST_NOISE:
                said = bytes(self._read[:60])
                raise PipeError(f"{self._no_python()}, it writes {said!r}", silent=late)
            self._more(until)
        del self._read[: found.end()]
        if found[3]:
            raise PipeError(
                "gives a terminal, which changes the bytes that pass: take out the option that asks for one, such as -t"
            )
        return int(found[1]), int(found[2])

    def _more(self, until: float) -> None:
        """Wait for more bytes."""
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
            if time.monotonic() > until:
                raise self._silence("says")

    def _listen(self) -> None:
        """Take in what the command writes to standard error, so that it is never stopped by it."""
        for _ in range(_CHUNKS):
            if not select.select([self._err], [], [], 0)[0]:
                return
            some = os.read(self._err, _CHUNK)
            if not some:
                return
            *lines, partial = (self._partial + some).split(b"\n")
            self._partial = partial[-_LINE_BYTES:]
            self._said += [line[-_LINE_BYTES:].decode(errors="replace").strip() for line in lines[-_LINES_KEPT:]]

    def _code(self) -> int | None:
        """How the command ended, negative for a signal; None where it goes on. Its number stays its own meanwhile."""
        until = time.monotonic() + _LAST_WORDS_S
        while time.monotonic() < until:
            found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if found is not None:
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
            time.sleep(_LAST_WORDS_S / 50)
        return None

    def _silence(self, what: str) -> PipeError:
        for_s = f"nothing for {self._deadline_s:g} s{self._words()}"
        if self._greeted:
            return PipeError(f"{what} {for_s}", silent=True)
        return PipeError(f"{self._no_python()}, it {what} {for_s}", silent=True)

    def _no_python(self) -> str:
        return f"cannot be reached: {shlex.join(self._command)} starts no Python"

    def _ended(self) -> PipeError:
        code = self._code()
        self._listen()
        if any(_ANCIENT in line for line in self._said):
            return PipeError(_too_old("a Python older than 3.2"))
        what = "is gone" if self._greeted else "cannot be reached"
        if code is None:
            how = "closed its pipe"
        else:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return PipeError(f"{what}: {shlex.join(self._command)} {how}{self._words()}")

    def _words(self) -> str:
        """The last that was written to standard error, without the prompts of Python."""
        lines = [*self._said, self._partial.decode(errors="replace").strip()]
        said = [text for line in lines if (text := re.sub(r"^(?:(?:>>>|\.\.\.)\s*)+", "", line).strip())]
        return f"; its last words: {printable(said[-1][:300])}" if said else ""


def printable(text: str) -> str:
    """A text of somebody else's without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _too_old(found: str) -> str:
    return f"has {found}, and {'.'.join(map(str, OLDEST))} or later is needed: name another one with --python"
