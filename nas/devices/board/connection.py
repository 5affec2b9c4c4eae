"""A board that answers: started when it is first asked, and once again where its pipe ended in between."""

from __future__ import annotations

import atexit
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from nas.devices.base import DeviceLost
from nas.devices.board import frames, sources
from nas.devices.board.addresses import Address
from nas.devices.board.pipe import Pipe, PipeError, command_of, printable
from nas.devices.timing.cascades import CascadeReadings
from nas.devices.timing.readings import Readings
from nas.devices.timing.single_calls import SingleReadings

#: A pipe that ended is tried again after that long, once; one that is silent is not.
_PAUSE_S: Final = 1.0
#: A board that was given up is not asked again for so long: every stage would wait for it anew.
_GIVEN_UP_S: Final = 30.0
#: An answer may take so many deadlines, while there are signs of life; and readings, for which a board may have to wait
#: until another program has measured there, so long.
_DEADLINES: Final = 5.0
_LONGEST_S: Final = 3600.0
#: A file goes in pieces of this size, each of which is answered.
_PIECE: Final = 1 << 16
#: Dataclasses that are sent here.
_KNOWN: Final[dict[str, type]] = {each.__name__: each for each in (CascadeReadings, Readings, SingleReadings)}
_LOG: Final = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Failure(Exception):
    """A board answers that it cannot: `kind` says what could be done about it, the text what it was."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Connection:
    """One board; messages to it go one at a time, from whatever thread.

    `answered` raises DeviceLost where it does not answer, or answers that it cannot.
    """

    def __init__(self, name: str, address: Address) -> None:
        self.name, self.address = name, address
        self.lock = threading.RLock()
        #: Changes whenever the board was started anew, and then has nothing open.
        self.generation = 0
        self._pipe: Pipe | None = None
        self._waits = ""
        self._given_up: tuple[float, str] | None = None

    def ask(self, what: str, **arguments: Any) -> Any:
        """The answer to one message. Raises PipeError, and Failure where it cannot."""
        with self.lock:
            try:
                answer = self._exchanged(self._started(), {"ask": what, **arguments})
            except BaseException:
                self.close()  # whatever comes yet would be taken for the answer to the next question
                raise
            if "failure" in answer:
                raise Failure(str(answer["failure"]["kind"]), str(answer["failure"]["text"]))
            return answer["answer"]

    def answered(self, work: Callable[[], Answer]) -> Answer:
        """What `work` asks of the board; begun again where the pipe ended meanwhile."""
        with self.lock:
            if self._given_up is not None and time.monotonic() - self._given_up[0] < _GIVEN_UP_S:
                raise DeviceLost(self.name, self._given_up[1])
            for again in (True, False):
                try:
                    return work()
                except PipeError as error:
                    if not again or error.silent:
                        self._given_up = time.monotonic(), str(error)
                        raise DeviceLost(self.name, str(error)) from None
                    time.sleep(_PAUSE_S)
                except Failure as failure:
                    if not again or failure.kind != "cut":
                        raise DeviceLost(self.name, _sentence(failure)) from None
                except (KeyError, TypeError, AttributeError, IndexError) as error:
                    # What it says is well-formed, and not what was asked for: another program answers.
                    self.close()
                    raise DeviceLost(self.name, f"answers what was not asked for ({error!r:.80})") from error
            raise AssertionError("the second time ends it")

    def keep(self, files: Mapping[str, Path]) -> None:
        """Send files, by their SHA-256, that the board does not have. Raises PipeError and Failure."""
        for sha256 in self.ask("missing", sha256=list(files)):
            data = files[sha256].read_bytes()
            for begin in range(0, max(len(data), 1), _PIECE):
                piece = data[begin : begin + _PIECE]
                self.ask("file", sha256=sha256, begin=begin, data=piece, end=begin + _PIECE >= len(data))

    def is_open(self, generation: int) -> bool:
        """Whether the board still has open what it had then."""
        return self._pipe is not None and self.generation == generation

    def close(self) -> None:
        """End it; the next question starts it again."""
        with self.lock:
            if self._pipe is not None:
                self._pipe.close()
                self._pipe = None

    def _started(self) -> Pipe:
        if self._pipe is None:
            pipe = Pipe(command_of(self.address.at, self.address.python), self.address.deadline_s)
            try:
                pipe.start(sources.sources(), sources.MAIN)
            except BaseException:
                pipe.close()  # nothing is left running there, whatever ended the start, and it is told on
                raise
            self._pipe = pipe
            self.generation += 1
        return self._pipe

    def _exchanged(self, pipe: Pipe, message: Mapping[str, Any]) -> dict[str, Any]:
        pipe.write(frames.pack(message))
        begun, longest_s = time.monotonic(), self._longest_s(message["ask"])
        while "alive" in (answer := self._heard(pipe)):
            if time.monotonic() - begun > longest_s:
                raise PipeError(f"lives, and does not answer `{message['ask']}` for {longest_s:g} s", silent=True)
            self._say_what_is_waited_for(answer["alive"])
        if "failure" in answer and answer["failure"]["kind"] == "garbled":
            raise PipeError(f"was sent what is no message when it came there: {answer['failure']['text']}")
        return answer

    def _longest_s(self, what: str) -> float:
        """How long an answer may take of a board that shows that it lives."""
        return max(_LONGEST_S if what == "time" else 0.0, _DEADLINES * self.address.deadline_s)

    def _heard(self, pipe: Pipe) -> dict[str, Any]:
        try:
            head = pipe.read(frames.HEAD.size)
            text, payload = frames.lengths(head)
            answer: dict[str, Any] = _printable(frames.unpack(head, pipe.read(text), pipe.read(payload), _KNOWN))
        except frames.Garbled as error:
            raise PipeError(f"answers what is no answer: {error}") from None
        return answer

    def _say_what_is_waited_for(self, what: str) -> None:
        if what and what != self._waits:
            _LOG.warning("%s waits: %s", self.name, what)
        self._waits = what


def _printable(answer: Any) -> Any:
    """An answer without what would steer a terminal."""
    if isinstance(answer, str):
        return printable(answer)
    if isinstance(answer, dict):
        return {name: _printable(each) for name, each in answer.items()}
    return [_printable(each) for each in answer] if isinstance(answer, list) else answer


def _sentence(failure: Failure) -> str:
    match failure.kind:
        case "missing":
            return (
                f"has a Python that lacks a package ({failure}): install it there, such as with `python3 -m pip "
                "install numpy onnxruntime`, or name another Python with `nas devices add`"
            )
        case "full":
            return f"has a full disk ({failure}): make room there"
        case "closed":
            return (
                f"cannot keep files ({failure}): give its user that folder, or name another one with "
                '`--at "... env XDG_CACHE_HOME=/FOLDER"`'
            )
        case _:
            return f"cannot do what was asked: {failure}"


_connections: dict[tuple[str, Address], Connection] = {}


def connection(name: str, address: Address) -> Connection:
    """The connection to a board in this process, which all that measure there share."""
    if (name, address) not in _connections:
        _connections[name, address] = Connection(name, address)
        atexit.register(_connections[name, address].close)
    return _connections[name, address]


def sha256_of(data: bytes) -> str:
    """The name of samples and files there."""
    return hashlib.sha256(data).hexdigest()
