"""A board's side of the pipe: messages heard and said, and signs of life while something takes long.

This file is sent to boards, with Python 3.8.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from nas.devices.board import frames
from nas.devices.timing.plan import Plan, SinglePlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: A host that says nothing for that long is gone, though its pipe is open.
_PATIENCE_S: Final = 1800.0
#: Dataclasses that are sent here.
_KNOWN: Final[dict[str, type]] = {"Plan": Plan, "SinglePlan": SinglePlan}


class Channel:
    """Messages over two file descriptors; a sign of life every `alive_s` while something takes long."""

    def __init__(self, read: int, write: int, alive_s: float) -> None:
        self._read, self._write, self._alive_s = read, write, alive_s
        self._lock, self._busy = threading.Lock(), threading.Event()
        self._waiting = ""
        threading.Thread(target=self._live, daemon=True).start()

    def say(self, message: Mapping[str, Any]) -> None:
        """Send a message; leaves where nobody reads any more."""
        view = memoryview(frames.pack(message))
        with self._lock:
            try:
                while view:
                    view = view[os.write(self._write, view) :]
            except BrokenPipeError:
                os._exit(0)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Within, there are signs of life."""
        self._busy.set()
        try:
            yield
        finally:
            self._busy.clear()

    def waits(self) -> None:
        """Another program of ours has the machine: that is said with the signs of life."""
        self._waiting = "another program of ours measures or computes there"

    def goes_on(self) -> None:
        """Nothing is waited for any more."""
        self._waiting = ""

    def _live(self) -> None:
        while True:
            self._busy.wait()
            time.sleep(self._alive_s)
            if self._busy.is_set():
                self.say({"alive": self._waiting})

    def hear(self) -> Any:
        """The next message; leaves where there is none any more, or what comes is none."""
        try:
            head = self._exactly(frames.HEAD.size)
            text, payload = frames.lengths(head)
            return frames.unpack(head, self._exactly(text), self._exactly(payload), _KNOWN)
        except frames.Garbled as error:
            self.say({"failure": {"kind": "garbled", "text": str(error)}})
            os._exit(1)

    def _exactly(self, size: int) -> bytes:
        found, said_s = bytearray(), time.monotonic()
        while len(found) < size:
            if found and time.monotonic() - said_s > self._alive_s:
                said_s = time.monotonic()
                self.say({"alive": ""})  # what is large comes slowly over a slow link
            if not select.select([self._read], [], [], _PATIENCE_S)[0]:
                os._exit(0)
            some = os.read(self._read, min(size - len(found), 1 << 20))
            if not some:
                os._exit(0)
            found += some
        return bytes(found)
