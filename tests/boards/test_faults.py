"""A board that fails costs a sentence and no more than its deadline, and is measured again once it is mended."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any, Final

import pytest

from nas.devices.base import DeviceLost
from tests.boards.faults import Faulty, timed

#: What is allowed beside a deadline: starting twice, and closing.
_BESIDE_S: Final = 6.0
Rules = list[dict[str, Any]]


def rule(kind: str, value: Any = None, **where: Any) -> Rules:
    return [{"kind": kind, "value": value, **where}]


ASKED: Final = {what: f'"ask": "{what}"' for what in ("facts", "file", "samples", "open", "time", "run_all", "close")}
FATAL: Final = {
    "killed in the greeting": (rule("kill", after=10), r"cannot be reached: .* ended with code 137"),
    "killed before the first answer": (rule("kill", after=24), r"is gone: .* ended with code 137"),
    "killed in an answer of facts": (rule("kill", seen=ASKED["facts"], after=200), r"is gone: .* code 137"),
    "killed while timing": (rule("kill", seen=ASKED["time"], after=0), r"is gone: .* code 137"),
    "killed in an answer of times": (rule("kill", seen=ASKED["time"], after=300), r"is gone: .* code 137"),
    "killed while a file is sent": (rule("kill", way="to", seen=ASKED["file"], after=500), r"is gone: .* code 137"),
    "killed while samples are sent": (rule("kill", way="to", seen=ASKED["samples"], after=50), r"is gone: .* code 137"),
    "killed while answering": (rule("kill", seen=ASKED["run_all"], after=8), r"is gone: .* code 137"),
    "never started": (
        rule("never", "ssh: connect to host raspi port 22: No route to host"),
        r"cannot be reached: .* code 255; its last words: ssh: connect to host raspi port 22: No route to host$",
    ),
    "noise without end": (rule("noise", 300_000), r"cannot be reached: .* starts no Python, it writes b'Welcome!"),
    "a terminal": (rule("terminal"), r"gives a terminal, .* such as -t"),
    "noise in an answer": (rule("insert", "Connection is slow\n", seen=ASKED["facts"]), r"no answer: .*Connection"),
    "noise inside an answer": (rule("insert", "?", seen=ASKED["facts"], after=90), r"answers what is no answer"),
    "a changed answer": (rule("flip", seen=ASKED["time"], after=500), r"answers what is no answer"),
    "a changed program": (rule("flip", way="to", after=9000), r"is gone: .* its last words: zlib.error"),
    "a cut program": (rule("drop", 50, way="to", after=9000), r"is gone: .* its last words: zlib.error"),
    "a changed question": (rule("flip", way="to", seen=ASKED["facts"], after=40), r"was sent what is no message"),
    "a changed upload": (rule("flip", way="to", seen=ASKED["file"], after=900), r"was sent what is no message"),
    "changed samples": (rule("flip", way="to", seen=ASKED["samples"], after=900), r"was sent what is no message"),
    "its way closed": (rule("close", seen=ASKED["facts"], after=20), r"is gone: .* closed its pipe"),
}
#: These are told by the deadline alone.
SILENT: Final = {
    "frozen at once": (rule("freeze", way="to"), r"starts no Python, it says nothing for 1 s"),
    "frozen when asked": (rule("freeze", way="to", seen=ASKED["facts"]), r"^desk says nothing for 1 s"),
    "frozen while timing": (rule("freeze", way="to", seen=ASKED["time"]), r"^desk says nothing for 1 s"),
    "frozen in an answer": (rule("freeze", seen=ASKED["facts"], after=300), r"^desk says nothing for 1 s"),
    "frozen while a file is sent": (rule("freeze", way="to", seen=ASKED["file"], after=99), r"(says|takes) nothing"),
    "a cut upload": (rule("drop", 50, way="to", seen=ASKED["file"], after=900), r"^desk says nothing for 1 s"),
    # A sign of life may come after it, and is taken for the rest.
    "a cut answer": (
        rule("drop", 50, seen=ASKED["time"], after=300),
        r"(says nothing|is no answer)",
    ),
}
HARMLESS: Final = {
    "a login banner": rule("noise", 5_000),
    "a slow link": rule("crawl", 10_000) + rule("crawl", 10_000, way="to"),
    "frozen for a moment": rule("freeze", 0.8, way="to", seen=ASKED["time"]),
    "an answer that pauses": rule("freeze", 0.8, seen=ASKED["time"], after=300),
    "10 MB on standard error": rule("flood", 10_000_000, seen=ASKED["facts"]),
    "1 MB on standard error before": rule("flood", 1_000_000),
}


#: Like others at another moment, but for the slow link, which takes eight seconds.
_SLOW: Final = {
    "killed before the first answer",
    "killed while answering",
    "killed while samples are sent",
    "noise inside an answer",
    "changed samples",
    "a changed answer",
    "a cut answer",
    "frozen while timing",
    "an answer that pauses",
    "a slow link",
}


def names(faults: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in _SLOW else name for name in faults]


def lost(board: Faulty, deadline_s: float) -> str:
    """What is said of a board that is lost in time."""
    connection = board.connection(deadline_s)
    start = time.monotonic()
    with pytest.raises(DeviceLost) as error:
        timed(connection)
    assert time.monotonic() - start < deadline_s + _BESIDE_S
    connection.close()
    said = str(error.value)
    assert said.startswith("desk ") and "\n" not in said and "Traceback" not in said, said
    return said


def answers_again(board: Faulty) -> None:
    connection = board.connection()
    assert connection.answered(lambda: connection.ask("has_samples", sha256="")) is False
    connection.close()


@pytest.mark.parametrize("name", names(FATAL))
def test_a_link_that_fails_is_tried_twice_and_said(faulty: Faulty, name: str) -> None:
    rules, words = FATAL[name]
    faulty.break_with(*rules)
    said = lost(faulty, 10.0)
    assert re.search(words, said), said
    assert faulty.starts == 2
    faulty.require_gone()
    faulty.break_with()
    answers_again(faulty)


@pytest.mark.parametrize("name", names(SILENT))
def test_silence_ends_at_the_deadline(faulty: Faulty, name: str) -> None:
    rules, words = SILENT[name]
    faulty.break_with(*rules)
    said = lost(faulty, 1.0)
    assert re.search(words, said), said
    assert faulty.starts == 1 or "answers" in said
    faulty.require_gone()
    faulty.break_with()
    answers_again(faulty)


def test_a_link_that_failed_once_is_not_noticed(faulty: Faulty) -> None:
    faulty.break_with(*rule("kill", seen=ASKED["time"], starts=1))
    connection = faulty.connection()
    timed(connection)
    assert faulty.starts == 2
    faulty.break_with(*rule("flip", way="to", seen=ASKED["run_all"], after=99, starts=1))
    connection.close()
    timed(connection)
    assert faulty.starts == 2
    connection.close()


@pytest.mark.parametrize("name", names(HARMLESS))
def test_what_does_no_harm_is_lived_with(faulty: Faulty, name: str) -> None:
    faulty.break_with(*HARMLESS[name])
    connection = faulty.connection(8.0 if "slow" in name else 2.0)
    timed(connection)
    connection.close()
    assert faulty.starts == 1
