"""What people may hand over, damaged or odd: experiments, device profiles, readings."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from hardware_profiles.registry import SHIPPED
from nas.errors import InputError
from nas.process.files import unsealed

#: Budgets that nothing keeps: a run measures its networks, or takes readings, and ends before anything is trained.
IMPOSSIBLE: Final = [{"name": "worst", "latency": "1 ns"}]


@dataclass(frozen=True)
class Case:
    """One command with arguments, and what was done to its input; `changed` says after a success what differs."""

    kind: str
    about: str
    command: tuple[str, ...]
    changed: Callable[[], str] = field(default=lambda: "")
    run: Path | None = None


def odd(draw: random.Random) -> Any:
    """A value that somebody may write where another was expected."""
    deep: Any = 0
    for _ in range(draw.choice((3, 200, 3000))):
        deep = [deep] if draw.random() < 0.5 else {"a": deep}
    return draw.choice(
        (
            None, True, 0, -1, 1.5, 10**400, -(10**30), 1e308, float("nan"), float("inf"), "", " ", "x", "8 ms",
            "-1 ms", "1" * 400 + " ms", "1e999 s", "[/bold]", ":bank:", "a\0b", "~nobody-here/x", "../../x", "/",
            "host", "\ud800", "é" * 300, [], [[]], {}, [None], ["x", 1], {"a": 1}, {1: 2}, {None: None},
            {"name": "digits"},
            [0] * 5000, {f"k{i}": i for i in range(2000)}, deep, 100_000, [100_000], 2**63, "module:name", "os:system",
        )
    )  # fmt: skip


def changed_somewhere(data: Any, draw: random.Random) -> Any:
    """A copy in which something is replaced, left out or added, at a place that is drawn."""
    data = copy.deepcopy(data)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            places.append((value, key))
            walk(item)

    walk(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        holder, key = draw.choice(places)
        how = draw.random()
        try:
            if how < 0.75:
                holder[key] = odd(draw)
            elif how < 0.9:
                del holder[key]
            else:
                holder[draw.choice(("new", "", "name", "Name"))] = odd(draw)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return data


def damaged(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """How, and the bytes with one bit changed, cut short, replaced or repeated."""
    how = draw.choice(("flip", "flip", "flip", "truncate", "empty", "garbage", "twice", "half", "brackets", "insert"))
    where = draw.randrange(max(1, len(content)))
    match how:
        case "flip":
            return f"bit {draw.randrange(8)} of byte {where}", flipped(content, where, draw.randrange(8))
        case "truncate":
            return f"cut at {where}", content[:where]
        case "half":
            return "half", content[: len(content) // 2]
        case "empty":
            return "empty", b""
        case "garbage":
            return "random bytes", draw.randbytes(draw.choice((1, 100, 5000)))
        case "twice":
            return "twice", content * 2
        case "brackets":
            return "brackets", b"[" * draw.choice((10, 5000, 200_000))
        case _:
            return f"bytes put in at {where}", content[:where] + draw.randbytes(5) + content[where:]


def flipped(content: bytes, where: int, bit: int) -> bytes:
    """The content with one bit changed."""
    if not content:
        return content
    return content[:where] + bytes([content[where] ^ (1 << bit)]) + content[where + 1 :]


def dumped(data: Any) -> str:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    try:
        return str(yaml.dump(data, Dumper=Plain))
    except (RecursionError, yaml.YAMLError):
        return "a: " + "[" * 3000  # too deep to be written otherwise


def experiment(draw: random.Random, base: dict[str, Any]) -> Case:
    """An experiment with something odd in it, as data or as text."""
    data = changed_somewhere(base, draw)
    text = dumped(data)
    how = draw.random()
    about = "values"
    if how < 0.15:
        about, raw = damaged(text.encode("utf-8", "replace"), draw)
    elif how < 0.35:
        line = draw.choice(
            (
                "seed: !!bool maybe", "seed: !!timestamp nope", "seed: 2001-01-01", "seed: &a [1]\nsplits: *a",
                "seed: !!python/object/apply:os.system [ls]", "seed: 1" + "0" * 5000, "seed: 0x" + "f" * 900,
                "seed: " + "[" * 100_000, "seed: " + "{a: " * 3000, "? [a, b]\n: 1", "seed: 1:60:99", "seed: .nan",
                "\n".join(f"k{i}: {i}" for i in range(20_000)), "seed: 2001-99-99", "<<: {a: 1}", "=: 1", "seed: =",
                "seed: 2001-02-30 1:1:1", "seed: !!binary $$$", "seed: !!int x", "seed: !!set {a}", "\tseed: 1",
                "--- \n...\n--- \na: 1", 'seed: "\\ud800"', "%YAML 9.9\n---\na: 1", "seed: 1_000__0", "seed: 0o9",
                "seed: 0001-01-01 00:00:00 +23:59",
            )
        )  # fmt: skip
        about, raw = f"line {line[:30]!r}", (dumped(base) + line + "\n").encode()
    else:
        raw = text.encode("utf-8", "replace")
    Path("a.yaml").write_bytes(raw)
    if draw.random() < 0.2:
        settings = ("a", "=", "budgets.0.latency=5", "budgets.9.x=1", "seed.a.b=1", "data=[", "seed=" + "9" * 5000)
        setting = draw.choice(settings)
        command = ("run", "a.yaml", "--set", setting, "--set", "budgets=[{latency: 1}]")
        return Case("experiment", f"{about}, {setting[:40]}", command)
    return Case("experiment", about, ("check", "a.yaml"))


def profile(draw: random.Random, base: dict[str, Any]) -> Case:
    """A device profile with something odd in it, shown, listed or named by an experiment."""
    shipped = draw.choice(sorted(SHIPPED.glob("*.yaml")))
    text = shipped.read_text(encoding="utf-8")
    Path("hardware_profiles").mkdir()
    file = Path("hardware_profiles") / shipped.name
    if draw.random() < 0.6:
        about, raw = "values", dumped(changed_somewhere(yaml.safe_load(text), draw)).encode("utf-8", "replace")
    elif draw.random() < 0.5:
        line = draw.choice(
            (
                "notes: !!bool maybe",
                "name: 2001-99-99",
                "notes: &a [*a]",
                "x: !!int q",
                "id: 1" + "0" * 5000,
                "notes: " + "[" * 5000,
            )
        )
        about, raw = line[:40], (text + line + "\n").encode()
    else:
        about, raw = damaged(text.encode(), draw)
    file.write_bytes(raw)
    Path("a.yaml").write_text(
        dumped({**base, "target": {"device": file.stem, "runner": "onnxruntime"}}), encoding="utf-8"
    )
    command = draw.choice((("devices",), ("devices", str(file)), ("devices", file.stem), ("check", "a.yaml")))
    return Case("profile", f"{file.name}: {about}", command)


def readings(draw: random.Random, base: dict[str, Any], lines: bytes) -> Case:
    """Readings of another run, with odd values in a line, or damaged."""
    from nas.devices.measurement import read_rows

    intact = Path("intact.jsonl")
    intact.write_bytes(lines)
    file = Path("readings.jsonl")
    about = "values"
    if draw.random() < 0.6:
        # Without their checksums, as others write them.
        rows = [unsealed(json.loads(line)) for line in lines.splitlines()]
        place = draw.randrange(len(rows))
        if draw.random() < 0.4:
            target = draw.choice(rows[place]["exits"])
            name = draw.choice(("median_s", "upper_95_s", "contended", "wall_s"))
            value: Any = draw.choice((0, -1, None, "x", float("nan"), 1e400, 10**400, True, [], {}))
            target[name], about = value, f"{name} {str(value)[:20]}"
        else:
            rows[place] = changed_somewhere(rows[place], draw)
        try:
            raw = "\n".join(map(json.dumps, rows)).encode() + b"\n"
        except (RecursionError, ValueError):
            raw = b"[" * 100_000 + b"\n"
    else:
        about, raw = damaged(lines, draw)
    file.write_bytes(raw)
    calibration = {"networks": 4, "measurements": "readings.jsonl"}
    Path("a.yaml").write_text(dumped({**base, "calibration": calibration, "budgets": IMPOSSIBLE}), encoding="utf-8")

    def changed() -> str:
        if not about.startswith("bit"):
            return ""
        try:
            here, there = read_rows(file), read_rows(intact)
        except InputError:
            return ""  # it is not what the command read
        return "" if here == there[: len(here)] and len(there) - len(here) <= 1 else "the readings"

    return Case("readings", about, draw.choice((("search", "a.yaml", "--out", "run"), ("check", "a.yaml"))), changed)
