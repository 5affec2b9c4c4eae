"""A link to a board that misbehaves: python proxy.py RULES COMMAND... starts the command, and passes bytes to and fro.

RULES is a JSON file of a list, which is read at the beginning and may be mended later. Each rule is a fault by name,

    never       print its text to standard error and end with code 255, as ssh does
    noise       write so many bytes of a login banner before anything else
    kill        end both the board and the link
    freeze      stop the board with SIGSTOP for so many seconds; null: for ever
    insert      write these characters in between
    flip        change a bit of the next byte
    drop        leave the next bytes out
    close       close the way from the board, and live
    flood       write so many bytes to the board's standard error
    crawl       pass so many bytes per second
    terminal    end lines as a terminal does

and where it happens: `way` is "to" the board or "from" it (the default), `seen` is text that has to pass to the board
before, for the `nth` time, and `after` how many further bytes pass that way. It happens on the first `starts` starts,
or from start number `since` on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

#: Marks the board's processes by their environment.
MARK: Final = "HWNAS_TEST_PROXY"
_BANNER: Final = b"Welcome!  hwnas-board 9.9 is ready\nhwnas-board ready\n>>> hwnas-board 3.8 read\n"


@dataclass
class Rule:
    """A fault, and where it happens."""

    kind: str
    value: Any
    way: str = "from"
    seen: str = ""
    nth: int = 1
    after: int = 0
    left: int = field(default=1 << 62)

    def __post_init__(self) -> None:
        if not self.seen:
            self.left = self.after


class Link:
    """The board's process, and the bytes between."""

    def __init__(self, rules: list[Rule], command: list[str], mark: str) -> None:
        self.rules, self.lock = rules, threading.Lock()
        # It is elsewhere: what ends the link does not end it.
        self.board = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, MARK: mark},
        )
        self.heard = b""

    def pump(self, way: str, source: int, sink: int) -> None:
        """Pass bytes one way until there are no more."""
        with suppress(BrokenPipeError):
            while data := os.read(source, 1 << 14):
                if way == "to":
                    self.arm(data)
                self.put(way, data, sink)
        os.close(sink)

    def arm(self, data: bytes) -> None:
        """Let rules begin whose text was seen."""
        with self.lock:
            before, self.heard = self.heard, (self.heard + data)[-200:]
            for rule in self.rules:
                new = (before + data).count(rule.seen.encode()) - before.count(rule.seen.encode()) if rule.seen else 0
                if rule.seen and rule.nth > 0 and new > 0:
                    rule.nth -= new
                    if rule.nth <= 0:
                        rule.left = rule.after

    def put(self, way: str, data: bytes, sink: int) -> None:
        """Pass bytes with whatever happens in them."""
        for rule in [rule for rule in self.rules if rule.way == way]:
            if rule.kind == "crawl":
                for begin in range(0, len(data), 512):
                    time.sleep(min(512, len(data) - begin) / rule.value)
                    os.write(sink, data[begin : begin + 512])
                return
            if rule.kind == "terminal":
                data = data.replace(b"\n", b"\r\n")
            elif rule.left < len(data):
                head, tail = data[: rule.left], data[rule.left :]
                rule.left = 1 << 62
                os.write(sink, head)
                data = self.happen(rule, tail, sink)
            elif rule.left < 1 << 62:
                rule.left -= len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(sink, view) :]

    def happen(self, rule: Rule, tail: bytes, sink: int) -> bytes:
        """A fault; returns what passes after it."""
        if rule.kind == "kill":
            self.board.kill()
            os._exit(137)
        if rule.kind == "freeze":
            os.kill(self.board.pid, signal.SIGSTOP)
            time.sleep(1e6 if rule.value is None else rule.value)
            os.kill(self.board.pid, signal.SIGCONT)
        if rule.kind == "close":
            os.close(sink)
            time.sleep(1e6)
        if rule.kind == "flood":
            for _ in range(rule.value // 10_000):
                os.write(2, b"x" * 9_999 + b"\n")
        if rule.kind == "flip":
            return bytes([tail[0] ^ 1]) + tail[1:]
        if rule.kind == "drop":
            return tail[rule.value :]
        return rule.value.encode("latin1") + tail if rule.kind == "insert" else tail


def main(path: Path, command: list[str]) -> None:
    """Start the command under the rules; ends when it does."""
    counter = path.with_suffix(".starts")
    starts = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(starts + 1))
    rules = []
    for each in json.loads(path.read_text()):
        if each.pop("since", 0) <= starts < each.pop("starts", 1 << 62):
            rules.append(Rule(**each))
    for rule in rules:
        if rule.kind == "never":
            sys.stderr.write(rule.value + "\n")
            sys.exit(255)
        if rule.kind == "noise":
            os.write(1, (_BANNER * (1 + rule.value // len(_BANNER)))[: rule.value])
    link = Link(rules, command, str(path))
    assert link.board.stdin is not None
    assert link.board.stdout is not None
    to = threading.Thread(target=link.pump, args=("to", 0, os.dup(link.board.stdin.fileno())), daemon=True)
    link.board.stdin.close()
    to.start()
    link.pump("from", link.board.stdout.fileno(), 1)
    link.board.stdout.close()  # nobody reads any more: the board is to notice
    os._exit(link.board.wait() & 0xFF)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
