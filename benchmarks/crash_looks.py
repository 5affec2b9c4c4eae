"""What is there of a run or sweep that is killed again and again: readable, nothing lost, nothing done twice?"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from nas.deploy import manifest
from nas.devices.measurement import read_rows
from nas.errors import InputError
from nas.process.files import TEMPORARY, read_jsonl
from nas.process.lock import LOCK
from nas.run import layout
from nas.run.layout import RunFiles, WinnerFiles
from nas.run.progress import progress_of, trained
from nas.run.soundness import damages
from nas.run.trial import load_batches
from nas.run.verdict_files import load_verdicts
from nas.run.winners import trained_key
from nas.sweep.layout import SweepFiles, is_sweep
from nas.sweep.running import is_over
from nas.sweep.state import Watcher

#: When something was made: a file that was made again has another.
Made = tuple[int, int]
#: Times, facts of the process, and how much was said of it: what differs between any two runs.
_OF_PROCESSES: Final = ("@crc32", "conditions", "facts", "machine")
_SKIPPED: Final = (LOCK, layout.LOG, layout.OUTPUT, layout.LENGTHS)
#: In a run's page a section, and sizes of files with times in them; in a sweep's the work in all, and a column.
_TIMES: Final = (
    re.compile(r'<section id="time".*?</section>', re.DOTALL),
    re.compile(r"<td>[\d.]+\s?(?:B|KiB|MiB)</td>"),
    re.compile(r"<p>[^<]* of work in all\."),
    re.compile(r'<td class="nowrap">[^<]*</td></tr>'),
)  # fmt: skip


class Looks:
    """What was seen of a folder at each look, and what was wrong: sentences about each fault."""

    def __init__(self, root: Path) -> None:
        self.unreadable: list[str] = []
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self._root = root
        self._logs: dict[Path, bytes] = {}
        self._done: dict[str, Made] = {}

    def look(self) -> None:
        """Read everything, and compare it with what was there at the last look."""
        runs = list(runs_in(self._root))
        self.unreadable += (fault for files in runs for fault in _unreadable(files))
        self.unreadable += _unreadable_sweep(self._root)
        for path, before in self._logs.items():
            now = path.read_bytes() if path.is_file() else b""
            if not now.startswith(before):
                self.lost.append(f"{self._named(path)}: lines that were there are gone")
        self._logs = {path: _whole_lines(path) for path in self._root.rglob("*.jsonl")}
        done: dict[str, Made] = {}
        for files in runs:
            try:
                done |= dict(self._finished(files))
            except InputError as error:
                self.unreadable.append(str(error))
        for item, made in self._done.items():
            if item not in done:
                self.lost.append(f"{item} was there")
            elif done[item] != made:
                self.doubled.append(f"{item} was made again")
        self._done = {**self._done, **done}

    def end(self, reference: Path) -> None:
        """Look for the last time, and count what stands in logs against what an undisturbed one has."""
        self.look()
        if self.unreadable:
            return
        for files in runs_in(self._root):
            usual = RunFiles(reference / files.root.relative_to(self._root))
            self.doubled += _more(_measured(files), _measured(usual), self._named(files.measurements))
            slots = Counter((trial["batch"], trial["slot"]) for trial in read_jsonl(files.trials))
            self.doubled += (f"{self._named(files.trials)}: {slot} stands twice" for slot, n in slots.items() if n > 1)
        if is_sweep(self._root):
            rows = read_jsonl(SweepFiles(self._root).log)
            ends = Counter(row["cell"] for row in rows if row["event"] == "end" and not row.get("cause"))
            self.doubled += (f"cell {cell} was complete twice" for cell, n in ends.items() if n > 1)
        weights = sum(trained(files) and not progress_of(files).reused for files in runs_in(self._root))
        usually = sum(trained(files) and not progress_of(files).reused for files in runs_in(reference))
        if weights > usually:
            self.doubled.append(f"shared weights were trained {weights} times, and not {usually}")

    def _finished(self, files: RunFiles) -> Iterator[tuple[str, Made]]:
        """What has come to its end, and when."""
        name = self._named(files.root)
        if trained(files):
            yield f"{name}: shared weights", _made(files.supernet)
        for path in (files.front, *sorted(files.root.glob(f"{layout.OPTIMISER}/*.json"))):
            if path.is_file() and not path.name.startswith(TEMPORARY):
                yield f"{name}: {path.name}", _made(path)
        for winner in _winners(files):
            if (key := trained_key(winner)) is None:
                continue
            budget = winner.root.name if winner.root.parent.name == "winners" else winner.root.parent.name
            yield f"{name}: weights of {budget}, {key[:10]}", _made(winner.weights)
            if winner.scores.is_file():
                yield f"{name}: scores of {budget}, {key[:10]}", _made(winner.scores)
            if winner.manifest.is_file() and not manifest.differences(winner.root, manifest.load(winner.root)):
                yield f"{name}: export of {budget}, {key[:10]}", _made(winner.manifest)
        if load_verdicts(files).tested:
            yield f"{name}: verdicts", _made(files.verify)
            yield f"{name}: test", _made(files.test)
        if is_sweep(self._root) and is_over(SweepFiles(self._root), files.root.name):
            yield f"{name}: all of it", _made(files.log)

    def _named(self, path: Path) -> str:
        return path.relative_to(self._root.parent).as_posix()


def runs_in(root: Path) -> Iterator[RunFiles]:
    """The run that a folder is, or those of its cells."""
    if is_sweep(root):
        yield from (RunFiles(path) for path in sorted(SweepFiles(root).cell("x").root.parent.glob("*")))
    else:
        yield RunFiles(root)


def _unreadable(files: RunFiles) -> Iterator[str]:
    """What a reader refuses."""
    # What is not complete yet has another name, and goes away when somebody goes on.
    yield from (said for path, said in damages(files) if not path.name.startswith(TEMPORARY))
    for read in (
        lambda: read_rows(files.measurements),
        lambda: load_batches(files.trials),
        lambda: load_verdicts(files),
        lambda: [manifest.load(each.root) for each in _winners(files) if each.manifest.is_file()],
        lambda: [trained_key(each) for each in _winners(files)],
    ):
        try:
            read()
        except InputError as error:
            yield str(error)
    if problem := progress_of(files).problem:
        yield problem


def _unreadable_sweep(root: Path) -> Iterator[str]:
    if is_sweep(root):
        try:
            Watcher(SweepFiles(root)).look()
        except InputError as error:
            yield str(error)


def _winners(files: RunFiles) -> list[WinnerFiles]:
    standing = sorted(files.winner("x").root.parent.glob("*"))
    return [*(WinnerFiles(path) for path in standing), *files.all_not_kept()]


def _whole_lines(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def _made(path: Path) -> Made:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _measured(files: RunFiles) -> Counter[tuple[str, ...]]:
    return Counter((row.target, row.purpose, row.budget, row.key) for row in read_rows(files.measurements))


def _more(found: Counter[tuple[str, ...]], usual: Counter[tuple[str, ...]], name: str) -> Iterator[str]:
    for about, count in found.items():
        if count > usual[about]:
            yield f"{name}: {' '.join(about)} was read {count} times, and not {usual[about]}"


def differences(folder: Path, reference: Path) -> Iterator[str]:
    """What of a folder is not as in another, apart from times and facts of processes: a sentence per file."""
    names = sorted({path.relative_to(root).as_posix() for root in (folder, reference) for path in _files(root)})
    for name in names:
        if not (folder / name).is_file() or not (reference / name).is_file():
            yield f"{name} is {'missing' if (reference / name).is_file() else 'there, and should not be'}"
        elif _content(folder / name) != _content(reference / name):
            yield f"{name} differs"


def _files(root: Path) -> Iterable[Path]:
    return (path for path in root.rglob("*") if path.is_file() and path.name not in _SKIPPED)


def _content(path: Path) -> object:
    match path.name:
        case layout.ENVIRONMENT:
            return _plain(json.loads(path.read_bytes()))
        case layout.MEASUREMENTS:
            return [_plain(json.loads(line)) for line in path.read_bytes().splitlines()]
        case layout.REPORT:
            text = path.read_text(encoding="utf-8")
            for pattern in _TIMES:
                text = pattern.sub("", text)
            return text
    return path.read_bytes()


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in _OF_PROCESSES}
