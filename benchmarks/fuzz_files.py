"""Files in formats of others, and the bundles that people are given: damaged, or with something odd in them."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import runpy
import shutil
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from fuzz_inputs import Case, changed_somewhere, damaged, dumped, odd

from nas.errors import InputError

#: Images in each of the five parts of CIFAR-10, and of each class of Fashion-MNIST.
_IMAGES: Final = 40
#: What `run.py` of a bundle begins a command with, in place of a command of `nas`.
BUNDLE: Final = "run.py"


def cifar(draw: random.Random, base: dict[str, Any]) -> Case:
    """A folder of CIFAR-10 or CIFAR-100 with a file that is damaged, lost, or holds something else."""
    rng = np.random.default_rng(draw.randrange(2**32))
    many = draw.random() < 0.3
    folder = Path("set") / ("cifar-100-python" if many else "cifar-10-batches-py")
    folder.mkdir(parents=True)
    classes = [f"class {number}" for number in range(10)]
    key, names = ("fine_labels", "fine_label_names") if many else ("labels", "label_names")
    parts = ("train", "test") if many else (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
    records: dict[str, dict[str, Any]] = {
        part: {
            "data": rng.integers(0, 255, (5 * _IMAGES if many else _IMAGES, 3072)).astype(np.uint8),
            key: [number % 10 for number in range(5 * _IMAGES if many else _IMAGES)],
        }
        for part in parts
    }
    records["meta" if many else "batches.meta"] = {names: classes}
    victim, about = draw.choice(list(records)), ""
    if draw.random() < 0.4:
        record = records[victim]
        name = draw.choice(list(record))
        record[name] = draw.choice(
            (odd(draw), np.zeros(3), np.zeros((2, 3072)), np.zeros((0, 3072), np.uint8), [-1], [2**40])
        )
        about = f"{victim}: {name} {str(record[name])[:30]}"
    for part, record in records.items():
        (folder / part).write_bytes(pickle.dumps(record, protocol=draw.choice((2, 4, 5))))
    if not about:
        how, raw = damaged((folder / victim).read_bytes(), draw)
        (folder / victim).write_bytes(raw)
        about = f"{victim}: {how}"
    if draw.random() < 0.1:
        (folder / victim).unlink()
        about = f"{victim}: lost"
    data = {"name": "cifar100" if many else "cifar10", "path": draw.choice(("set", str(folder)))}
    Path("a.yaml").write_text(dumped({**base, "data": data}), encoding="utf-8")
    return Case("cifar", about, ("check", "a.yaml"))


def idx(draw: random.Random, base: dict[str, Any]) -> Case:
    """The four IDX files of Fashion-MNIST, packed or not, one of them damaged, lost, or of another header."""
    rng = np.random.default_rng(draw.randrange(2**32))
    folder, packed = Path("set"), draw.random() < 0.5
    folder.mkdir()
    contents: dict[str, bytes] = {}
    for part, count in (("train", 10 * _IMAGES), ("t10k", _IMAGES)):
        pixels, labels = rng.integers(0, 255, (count, 28, 28)).astype(np.uint8), np.arange(count, dtype=np.uint8) % 10
        contents[f"{part}-images-idx3-ubyte"] = _idx(pixels)
        contents[f"{part}-labels-idx1-ubyte"] = _idx(labels)
    victim = draw.choice(list(contents))
    about = ""
    if draw.random() < 0.3:
        place, value = draw.randrange(16), draw.choice((0, 1, 8, 13, 127, 255))
        changed = bytearray(contents[victim])
        changed[place] = value
        contents[victim], about = bytes(changed), f"{victim}: byte {place} is {value}"
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content, 1) if packed else content)
        if name == victim and not about:
            how, raw = damaged(path.read_bytes(), draw)
            path.write_bytes(raw)
            about = f"{path.name}: {how}"
    if draw.random() < 0.1:
        next(folder.glob(f"{victim}*")).unlink()
        about = f"{victim}: lost"
    Path("a.yaml").write_text(dumped({**base, "data": {"name": "fashion_mnist", "path": "set"}}), encoding="utf-8")

    def changed_values() -> str:
        """What is packed has a checksum; a bit of it that is another is seen, or is in none of the values."""
        from nas.tasks.image_classification.idx import read_idx

        if not packed or ": bit" not in about:
            return ""
        try:
            found = read_idx(folder, victim, 3 if "images" in victim else 1, "")
        except InputError:
            return ""  # it is not what the command read
        return "" if _idx(found) == contents[victim] else "the values that are read"

    return Case("idx", about, ("check", "a.yaml"), changed_values)


def _idx(values: np.ndarray[Any, Any]) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def bundle(draw: random.Random, winner: Path) -> Case:
    """A winner's folder on its own, one of its files or the images that it is given damaged or odd."""
    folder = Path("bundle")
    shutil.copytree(winner, folder)
    shape = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["preprocessing"]
    images: Any = np.random.default_rng(0).integers(0, 17, (3, shape["channels"], *shape["size"])).astype(np.uint8)
    np.save("intact.npy", images)
    said_before = _answers(run_bundle(("bundle", "intact.npy"))[1])
    given, about = "intact.npy", ""
    more: tuple[str, ...] = ()
    what = draw.choice(("manifest.json", "manifest.json", "thresholds.json", "onnx", "images", "images", "arguments"))
    if what == "arguments":
        more = draw.choice((("--threads", "0"), ("--threads", "x"), ("--hwc",), ("--threads", "9" * 400), ("--odd",)))
        about = " ".join(more)[:40]
    elif what == "images":
        given = "odd.npy"
        other = draw.choice(
            (
                np.zeros((0, 1, 8, 8)), np.zeros((3, 1, 8, 8), complex), np.zeros(3), np.array(1), np.array("a"),
                np.zeros((2, 5, 8, 8)), np.full((2, 1, 8, 8), np.nan), np.zeros((1,) * 5), np.zeros((8, 8), bool),
                np.zeros((2, 1, 8, 8), "M8[s]"), np.full((2, 1, 8, 8), 1e300), np.zeros((0,) * 3), np.zeros(8, "U3"),
            )
        )  # fmt: skip
        np.save(given, other)
        about = f"images {other.dtype} {other.shape}"
        if draw.random() < 0.5:
            how, raw = damaged(Path("intact.npy").read_bytes(), draw)
            Path(given).write_bytes(raw)
            about = f"images: {how}"
    else:
        path = draw.choice(sorted(folder.glob("*.onnx"))) if what == "onnx" else folder / what
        about = _spoiled(path, draw)

    def changed() -> str:
        # Edited on purpose it counts as it is, and without thresholds the last exit answers.
        if given == "odd.npy" or more or about.endswith((": values", ": lost")):
            return ""
        return "" if _answers(run_bundle(("bundle", given))[1]) == said_before else "the answers"

    return Case("bundle", about, (BUNDLE, "bundle", given, *more), changed)


def _spoiled(path: Path, draw: random.Random) -> str:
    """Damage a file of a bundle, or lose it, or write something odd into its JSON, without its checksum."""
    if path.suffix == ".json" and draw.random() < 0.4:
        record = json.loads(path.read_text(encoding="utf-8"))
        del record["@crc32"]
        path.write_text(json.dumps(changed_somewhere(record, draw)), encoding="utf-8", errors="replace")
        return f"{path.name}: values"
    if draw.random() < 0.1:
        path.unlink()
        return f"{path.name}: lost"
    how, raw = damaged(path.read_bytes(), draw)
    path.write_bytes(raw)
    return f"{path.name}: {how}"


def _answers(said: str) -> list[list[str]]:
    """What each image was taken for, and by which exit; seconds are others each time."""
    return [line.split()[:5] for line in said.splitlines()]


def run_bundle(arguments: tuple[str, ...]) -> tuple[int, str]:
    """Exit code and output of the `run.py` in the folder that comes first, in this process."""
    folder = Path(arguments[0]).absolute()
    own, before = {path.stem for path in folder.glob("*.py")}, (list(sys.path), list(sys.argv))
    said, code = StringIO(), 0
    sys.path.insert(0, str(folder))
    sys.argv = [BUNDLE, *arguments[1:]]
    try:
        with redirect_stdout(said):
            runpy.run_path(str(folder / "run.py"), run_name="__main__")
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    finally:
        sys.path[:], sys.argv = before
        for name in own & set(sys.modules):
            del sys.modules[name]
    return code, said.getvalue()
