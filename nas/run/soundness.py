"""Whether the files of a run are what was written: each that has a checksum is read once before the run goes on.

Exported files are not among them: their hashes stand in the manifest, and what is damaged is exported again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from latency_models.arrays import read_arrays
from nas.deploy.names import MANIFEST, THRESHOLDS
from nas.errors import InputError
from nas.nn.weights import from_bytes
from nas.process.files import read_json, read_jsonl, understood
from nas.run import layout, lengths
from nas.run.layout import RunFiles

#: What to do about a damaged file, by its name.
_REMEDIES: Final[Mapping[str, str]] = {
    layout.EXPERIMENT: "restore it, or start anew with another --out",
    layout.ENVIRONMENT: "restore it, or start anew with another --out",
    layout.FRONT: "delete it, and the search ends again",
    layout.UNMET: "delete it, and the winners are chosen again",
    layout.VERIFY: "delete it and give `nas verify` again",
    layout.VERIFYING: "delete it, and the winners are measured again",
    layout.ELSEWHERE: "delete it, and what was measured elsewhere is forgotten",
    layout.TEST: "delete it and give `nas verify` again",
    layout.LENGTHS: lengths.REMEDY,
    layout.PLANS: "delete it, and the steps are counted again",
    layout.SUPERNET: "delete it, and the training begins anew",
}
_OPTIMISER: Final = "delete it, and the optimiser looks again"
_OTHER: Final = "delete it, and it is made again"
#: What the first line of an experiment begins with.
_SEAL: Final = "# CRC-32 of what follows: "


def sealed(text: str) -> str:
    """A text below a comment with its CRC-32, as the run's experiment has it; other files have theirs inside."""
    return f"{_SEAL}{zlib.crc32(text.encode()):08x}\n{text}"


def require_sound(files: RunFiles) -> None:
    """Raise InputError, with what to do, for the first file of a run that is not what was written."""
    for path in sorted(files.root.rglob("*")):
        if path.is_file() and path.name not in (MANIFEST, THRESHOLDS):
            _check(path)
    lengths.require_whole(files)


def damages(files: RunFiles) -> Iterator[tuple[Path, str]]:
    """Every such file, and a sentence about it."""
    found: dict[Path, str] = {}
    for path in sorted(files.root.rglob("*")):
        if path.is_file():
            try:
                _check(path)
            except InputError as error:
                found[path] = str(error)
    try:
        short = dict(lengths.losses(files))
    except InputError as error:
        short = {files.lengths: str(error)}
    for path, sentence in sorted({**short, **found}.items()):
        yield path, sentence.replace(f"{files.root}/", "")


def _check(path: Path) -> None:
    remedy = _OPTIMISER if path.parent.name == layout.OPTIMISER else _REMEDIES.get(path.name, _OTHER)
    match path.suffix:
        case ".yaml":
            with understood(path, remedy):
                text = path.read_text(encoding="utf-8")
                # Without the comment it was written anew, and counts as it is.
                if text.startswith(_SEAL) and text != sealed(text.partition("\n")[2]):
                    raise ValueError("it is not what was written: its first line is of another text")
        case ".json":
            read_json(path, remedy)
        case ".jsonl":
            read_jsonl(path)
        case ".safetensors":
            with understood(path, remedy):
                from_bytes(path.read_bytes())
        case ".npz":
            with understood(path, remedy):
                # A latency model of somebody else's may write what is no archive, which it reads itself.
                if not path.name.startswith("latency_model") or path.read_bytes()[:2] == b"PK":
                    read_arrays(path)
