"""Data that people may hand over, damaged or odd: arrays, folders of images, latency tables."""

from __future__ import annotations

import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from fuzz_inputs import Case, damaged, dumped, odd


def arrays(draw: random.Random, base: dict[str, Any]) -> Case:
    """Data of one's own as npz or npy files: damaged, or arrays of odd types and shapes."""
    from nas.tasks.image_classification.npz import npz

    rng = np.random.default_rng(draw.randrange(2**32))
    x, y = rng.integers(0, 255, (200, 1, 8, 8)).astype(np.uint8), np.arange(200) % 3
    named: dict[str, Any] = {"x_train": x, "y_train": y}
    about = "damaged"
    if draw.random() < 0.4:
        key = draw.choice(("x_train", "y_train", "x_test", "class_names"))
        other = draw.choice(
            (
                np.zeros(0), np.array(1), np.array("a"), np.zeros((2, 2), "M8[s]"), np.zeros(60, [("a", "f4")]),
                np.zeros((200, 1, 8, 8), complex), np.full((200, 8, 8), np.nan), np.full(200, 2**62), np.full(200, -1),
                np.zeros((200, 8, 8), "U3"), np.zeros((1, 1, 1, 1, 1)), np.array([b"a"] * 200),
                np.zeros((200, 8, 8), bool), np.full((200, 8, 8), 1e300), np.zeros((200, 1, 8, 8), np.float16),
                np.array(["a", "b", "[/c]"]),
                np.zeros((0, 1, 8, 8), np.uint8), np.zeros((60, 1, 8, 0), np.uint8), np.array([None, 1], object),
            )
        )  # fmt: skip
        named[key], about = other, f"{key} {other.dtype} {other.shape}"
    buffer = io.BytesIO()
    (np.savez if draw.random() < 0.5 else np.savez_compressed)(buffer, **named)
    content, path = buffer.getvalue(), "a.npz"
    if about == "damaged":
        about, content = damaged(content, draw)
        if draw.random() < 0.2:
            about, content = forged(buffer.getvalue(), draw)
        elif draw.random() < 0.2:
            about, content = "a foreign header", _foreign(draw)
    if draw.random() < 0.2:
        path = "folder"
        Path(path).mkdir()
        for key, value in named.items():
            np.save(Path(path) / f"{key}.npy", value, allow_pickle=True)
        victim = Path(path) / f"{draw.choice(list(named))}.npy"
        how, raw = damaged(victim.read_bytes(), draw)
        victim.write_bytes(raw)
        about = f"{victim.name}: {how}"
    else:
        Path(path).write_bytes(content)
    Path("a.yaml").write_text(dumped({**base, "data": {"name": "npz", "path": path}}), encoding="utf-8")
    original = np.concatenate([x.ravel(), y])

    def changed() -> str:
        if path != "a.npz" or not about.startswith("bit"):
            return ""
        found = npz(path)
        both = [
            np.concatenate([np.asarray(p[:]) for p in pair])
            for pair in ((found.train_x, found.test_x), (found.train_y, found.test_y))
        ]
        same = both[0].size + both[1].size == original.size and both[0].sum() == x.sum() and both[1].sum() == y.sum()
        return "" if same else "the arrays that are read"

    return Case("npz", about, ("check", "a.yaml"), changed)


def forged(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """An archive that says of a member that it is huge, is encrypted, or was packed in another way."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name in source.namelist():
            out.writestr(name, source.read(name))
        if draw.random() < 0.4:
            out.writestr("unused.npy", b"\0" * 1000)
        member = draw.choice(out.infolist())
        how = draw.choice(("size", "flags", "method"))
        if how == "size":
            member.file_size = 6 * 2**30
        elif how == "flags":
            member.flag_bits |= 1
        else:
            member.compress_type = 99
    return f"{member.filename} with another {how}", buffer.getvalue()


def _foreign(draw: random.Random) -> bytes:
    """An archive whose array says something odd about itself."""
    plain = "{'descr': '|u1', 'fortran_order': False, 'shape': %s, }"
    header = draw.choice(
        (
            *(plain % shape for shape in ("(10**15,)", "(1000000000000000,)", "(-1,)", "(1, 4294967296)", "1")),
            plain.replace("|u1", "|V99999999999") % "(1,)",
            "{'descr': 'O', 'shape': (1,), 'fortran_order': 0}",
            "(" * 9000, "-" * 9000, "{'descr': [('a', 'f4')] * 9, 'fortran_order': False, 'shape': ()}", "",
            "lambda: 1",
            "{" * 3000,
        )
    )  # fmt: skip
    text = header.encode().ljust(64) + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 100
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("x_train.npy", array)
        out.writestr("y_train.npy", array)
        for name in ("header.npy", "latency_ms.npy", "devices.npy", "ops.npy", "kernels.npy"):
            out.writestr(name, array)
    return buffer.getvalue()


def images(draw: random.Random, base: dict[str, Any]) -> Case:
    """A folder of images with files in it that are none, or odd."""
    root, rng = Path("set"), np.random.default_rng(draw.randrange(2**32))
    for label in ("a", "b [/x]"):
        (root / label).mkdir(parents=True)
        for i in range(60):
            Image.fromarray(rng.integers(0, 255, (9, 9, 3), np.uint8)).save(root / label / f"{i}.png")
    victim = root / "a" / f"x.{draw.choice(('png', 'jpg', 'gif', 'tif', 'webp', 'bmp', 'ppm'))}"
    how = draw.choice(
        ("fifo", "damaged", "damaged", "damaged", "mode", "large", "loop", "broken", "folder", "socket", "path", "size")
    )
    size: Any = 8
    path: Any = "set"
    if how == "fifo":
        os.mkfifo(victim)
    elif how == "damaged":
        buffer, kind = io.BytesIO(), {"jpg": "JPEG", "tif": "TIFF"}.get(victim.suffix[1:], victim.suffix[1:].upper())
        Image.fromarray(rng.integers(0, 255, (30, 20, 3), np.uint8)).save(buffer, kind)
        about, raw = damaged(buffer.getvalue(), draw)
        victim.write_bytes(raw)
        how = f"{victim.suffix}: {about}"
    elif how == "mode":
        mode = draw.choice(("1", "L", "P", "RGBA", "CMYK", "I;16", "I", "F", "LA"))
        Image.new(mode, (draw.choice((1, 9)), draw.choice((1, 500)))).save(
            victim.with_suffix(".tif" if mode != "P" else ".gif")
        )
        how = f"mode {mode}"
    elif how == "large":
        for i in range(draw.choice((1, 4))):
            Image.new("1", (13_000, 13_000)).save(root / "a" / f"large{i}.png")
    elif how == "loop":
        (root / "a" / "round").symlink_to(root.absolute())
    elif how == "broken":
        victim.symlink_to("nowhere")
    elif how == "folder":
        victim.mkdir()
    elif how == "socket":
        victim.symlink_to(draw.choice(("/dev/zero", "/dev/stdin", "/dev/null", "/proc/self/mem")))
    elif how == "path":
        path = odd(draw)
    else:
        size = odd(draw)
    data = {"name": "image_folder", "path": path, "size": size}
    Path("a.yaml").write_text(dumped({**base, "data": data}), encoding="utf-8", errors="replace")
    return Case("images", how, ("check", "a.yaml"))


def table(draw: random.Random, base: dict[str, Any]) -> Case:
    """A latency table, or what was learned from one, that is damaged or holds odd arrays."""
    from latency_models.table import load_table

    rng = np.random.default_rng(draw.randrange(2**32))
    ops = rng.integers(0, 3, (60, 4))
    seconds = 1 + ops.sum(1) + rng.random(60)
    named: dict[str, Any] = {
        "latency_ms": np.stack([seconds, 2 * seconds, 3 * seconds], 1),
        "devices": np.array(["a", "b", "c [/d]"]),
        "ops": ops,
    }
    about = "damaged"
    if draw.random() < 0.4:
        key = draw.choice(("latency_ms", "devices", "ops", "batch", "early_ms", "families", "arch_str", "op_names"))
        other: Any = draw.choice(
            (
                np.zeros(0), np.array(1), np.array("x"), np.full((60, 3), np.nan), np.full((60, 3), -1.0),
                np.zeros((60, 3, 2)), np.zeros((60, 4), "M8[s]"), np.zeros(60, [("a", "f4")]),
                np.array(["a", "a", "a"]), np.full((60, 4), 2**62), np.full((60, 4), -5), np.zeros((60, 4), complex),
                np.array([[1, 2]]), np.full((60, 3), np.inf), np.array([b"\xff"] * 3), np.zeros((60, 3)),
            )
        )  # fmt: skip
        named[key], about = other, f"{key} {other.dtype} {other.shape}"
    buffer = io.BytesIO()
    np.savez(buffer, **named)
    content = buffer.getvalue()
    if about == "damaged":
        about, content = damaged(content, draw)
        if draw.random() < 0.2:
            about, content = forged(buffer.getvalue(), draw)
        elif draw.random() < 0.2:
            about, content = "a foreign header", _foreign(draw)
    Path("t.npz").write_bytes(content)
    Path("intact.npz").write_bytes(buffer.getvalue())
    lookup, tabular = {"name": "lookup", "table": "t.npz"}, {"name": "table", "latencies": "t.npz", "column": "a"}
    evaluator = {"evaluator": {"name": "table", "accuracies": "t.npz", "latencies": "t.npz"}}
    which = draw.choice(({"latency_model": lookup}, {"latency_model": tabular}, {"search": evaluator}))
    Path("a.yaml").write_text(dumped({**base, "space": "nasbench201", **which}), encoding="utf-8")
    fit, small = ("latency", "fit", "t.npz"), ("--targets", "c [/d]", "--seeds", "1", "--pool", "40")
    judge, out = ("latency", "eval", "t.npz"), ("--sources", "a,b", "--out", "p.npz")
    commands = (
        ("check", "a.yaml"),
        (*fit, *out),
        (*judge, "--sources", "a,b", *small),
        (*judge, "--prior", "t.npz", *small),
    )

    def changed() -> str:
        if not about.startswith("bit"):
            return ""
        found, intact = load_table("t.npz"), load_table("intact.npz")
        same = np.array_equal(found.latency_s, intact.latency_s) and np.array_equal(found.ops, intact.ops)
        return "" if same and found.devices == intact.devices else "the table that is read"

    return Case("table", about, draw.choice(commands), changed)
