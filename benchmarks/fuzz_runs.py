"""A finished run with one damaged file: what a command makes of it, and whether that is right."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fuzz_inputs import flipped

from hardware_profiles.plain_yaml import load
from latency_models.arrays import DAMAGED
from nas.process.files import CHECKSUM
from nas.run.layout import RunFiles

#: What later stages made, from the last to the first: what was there before a stage, as if a run had been interrupted.
_REPORT: Final = ("report.html",)
_TEST: Final = (*_REPORT, "test.json")
_VERIFY: Final = (*_TEST, "verify.json")
_EXPORT: Final = (
    *_VERIFY,
    "winners/*/manifest.json",
    "winners/*/*.onnx",
    "winners/*/*.py",
    "winners/*/thresholds.json",
)
_WEIGHTS: Final = (*_EXPORT, "winners/*/weights.safetensors", "winners/*/scores.npz")
_WINNERS: Final = (*_WEIGHTS, "winners/*/architecture.json", "unmet.json")
_FRONT: Final = (*_WINNERS, "front.json")
#: How often each is drawn: what comes after it is computed again, which takes seconds.
INTERRUPTED: Final = (((), 90), (_TEST, 6), (_VERIFY, 4), (_EXPORT, 3), (_WEIGHTS, 2), (_WINNERS, 2), (_FRONT, 1))
COMMANDS: Final = (("run", 8), ("report", 5), ("verify", 3), ("export", 5), ("train", 5), ("search", 3))
HOW: Final = ("flip",) * 5 + ("half", "truncate", "empty", "garbage", "delete")


@dataclass(frozen=True)
class Damage:
    """A damaged copy of a run: which file, how, what it was and what it became, and the command that is given."""

    run: Path
    file: str
    how: str
    was: bytes
    became: bytes | None
    command: tuple[str, ...]


def damage(draw: random.Random, base: Path, experiment: Path) -> Damage:
    """Copy the run to `run`, take away what later stages made, and damage one file of what is left."""
    run = Path("run")
    shutil.copytree(base, run)
    without = draw.choices([each for each, _ in INTERRUPTED], [weight for _, weight in INTERRUPTED])[0]
    for pattern in without:
        for path in list(run.glob(pattern)):
            path.unlink()
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name not in (".lock", "report.html"))
    path = draw.choice(files)
    was, how = path.read_bytes(), draw.choice(HOW)
    became = _damaged(was, how, draw)
    about = how
    if how == "flip":
        where = draw.randrange(max(1, len(was)))
        bit = draw.randrange(8)
        about, became = f"bit {bit} of byte {where}", flipped(was, where, bit)
    if became is None:
        path.unlink()
    else:
        path.write_bytes(became)
    name = draw.choices([each for each, _ in COMMANDS], [weight for _, weight in COMMANDS])[0]
    command = (name, "run") if name not in ("run", "search") else (name, str(experiment), "--out", "run", "--resume")
    missing = f", without {without[-1]} and after" if without else ""
    return Damage(run, path.relative_to(run).as_posix(), f"{about}{missing}", was, became, command)


def _damaged(content: bytes, how: str, draw: random.Random) -> bytes | None:
    match how:
        case "half":
            return content[: len(content) // 2]
        case "truncate":
            return content[: draw.randrange(max(1, len(content)))]
        case "garbage":
            return draw.randbytes(len(content))
        case "delete":
            return None
    return b""


def results(run: Path) -> dict[str, Any]:
    """What a run found, as far as it is the same however long anything took: front, choices, accuracies, verdicts."""
    files = RunFiles(run)
    front, verify, test = _json(files.front), _json(files.verify), _json(files.test)
    found: dict[str, Any] = {
        "front": [(t["genome"], _untimed(t["metrics"])) for t in _items(front, "pareto")],
        "candidates": {
            name: [t["genome"] for t in trials] for name, trials in ((front or {}).get("budgets") or {}).items()
        },
        "verify": [
            (w["name"], w["genome"], w["accuracy"], w["within_budget"], w["counts"]) for w in _items(verify, "winners")
        ],
        "unmet": (verify or {}).get("unmet"),
        "test": [(w["name"], w["kept"], w["accuracy"], w["exits"]) for w in _items(test, "winners")],
        "kept": (test or {}).get("kept"),
    }  # fmt: skip
    return found


def _untimed(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.endswith("_s")}


def _items(record: Any, key: str) -> list[Any]:
    return (record or {}).get(key) or []


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def judged(case: Damage, code: int, said: str, intact: dict[str, Any]) -> Iterator[str]:
    """`wrong_kept` and `silent_changes`, where a command that ended well passed over the damage."""
    if code not in (0, 3) or _same(case.file, case.was, case.became):
        return
    if _said(case, said):
        return
    path, name = case.run / case.file, case.command[0]
    now = path.read_bytes() if path.exists() else None
    left = now == case.became
    if code == 0 and left and case.file.startswith("winners/") and _answers_for(name, case):
        yield "wrong_kept"
    if case.became is None:
        return
    try:
        found = results(case.run)
    except (ValueError, KeyError, TypeError, AttributeError):
        yield "silent_changes"
        return
    if any(value != intact[key] for key, value in found.items() if value):
        yield "silent_changes"


def _answers_for(name: str, case: Damage) -> bool:
    """Whether a command that ends well says that a winner's file is good."""
    of_training = ("architecture.json", "weights.safetensors", "scores.npz")
    match name:
        case "search":
            return False
        case "train":
            return case.file.endswith(of_training)
        case "export":
            return not case.file.endswith(("scores.npz", "thresholds.json"))
        case "report":
            return (case.run / "test.json").exists()
    return True


def _said(case: Damage, said: str) -> bool:
    """Whether the file is named, on the terminal or among the problems on the page."""
    name = Path(case.file).name
    page = case.run / "report.html"
    if case.command[0] == "report" and page.exists():
        text = page.read_text(encoding="utf-8")
        said += text.partition('<aside class="problems">')[2].partition("</aside>")[0]
    return name in said


def _same(file: str, was: bytes, became: bytes | None) -> bool:
    """Whether a reader gets the same values from both."""
    if became is None:
        return False
    if was == became:
        return True
    try:
        if file.endswith(".json"):
            return bool(_unsealed(json.loads(was)) == _unsealed(json.loads(became)))
        if file.endswith(".jsonl"):
            rows = [[_unsealed(json.loads(line)) for line in text.splitlines()] for text in (was, became)]
            return rows[0] == rows[1]
        if file.endswith(".yaml"):
            return bool(load(was.decode()) == load(became.decode()))
        if file.endswith(".npz"):
            return _arrays(was) == _arrays(became)
    except DAMAGED:
        return False
    return False


def _arrays(content: bytes) -> dict[str, bytes]:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _unsealed(record: Any) -> Any:
    """Without the checksum: if only that is damaged, nothing is lost."""
    if isinstance(record, dict):
        return {key: value for key, value in record.items() if key != CHECKSUM}
    return record
