"""The manifest of an exported network: which files, for which targets, made by what, and how to use them.

It is what a bundle's `run.py` reads, and what tells a file that was exported from one that was exchanged. File names
in it are relative to its folder. There is no date in it: the same export gives the same manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from platform import python_version
from typing import Any, Final

import nas
from nas.deploy import cascade
from nas.deploy.onnx import SegmentFile
from nas.errors import InputError
from nas.process.files import atomic_write_bytes, atomic_write_json, sha256_file
from nas.tasks.image_classification import preprocessing

SCHEMA: Final = 1
NAME: Final = "manifest.json"

#: Packages whose versions are recorded.
_PACKAGES: Final = ("numpy", "jax", "onnx", "onnxruntime", "apache-tvm", "apache-tvm-ffi")


@dataclass(frozen=True)
class Manifest:
    """What stands in manifest.json.

    `architecture` is the network's key; `model` the file of the whole network with all exits as outputs; `exits` its
    segments in order, with one threshold per exit but the last (None or infinity: that exit never answers).
    `libraries` has, per key of a target, the compiled segments in the order of the exits. `budgets` and `targets` are
    records of the caller's; `preprocessing` is that of `nas.tasks.image_classification.preprocessing`. `artefacts` and `tools` are filled in
    by `write`.
    """

    architecture: str
    model: str
    exits: tuple[SegmentFile, ...]
    thresholds: tuple[float | None, ...]
    preprocessing: Mapping[str, Any]
    targets: tuple[Mapping[str, Any], ...] = ()
    budgets: tuple[Mapping[str, Any], ...] = ()
    libraries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    artefacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.thresholds) != len(self.exits) - 1:
            counts = f"{len(self.exits)} exits with {len(self.thresholds)} thresholds"
            raise InputError(f"{counts}; every exit but the last needs one")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The meaning of each output."""
        return tuple(self.preprocessing["class_names"])

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the manifest itself names."""
        compiled = (name for names in self.libraries.values() for name in names)
        return tuple(dict.fromkeys((self.model, *(entry.file for entry in self.exits), *compiled)))


def write(folder: Path, manifest: Manifest, others: Sequence[str] = ()) -> Manifest:
    """Write manifest.json into the folder with size and SHA-256 of every file it names, and of `others`.

    Returns what was written. Raises InputError for a file that is not there or not in the folder.
    """
    names = dict.fromkeys((*manifest.files, *others))
    artefacts = {name: _artefact(folder, name) for name in names}
    result = Manifest(
        **{f: getattr(manifest, f) for f in Manifest.__dataclass_fields__ if f not in ("artefacts", "tools")},
        artefacts=artefacts,
        tools=tools(),
    )
    atomic_write_json(folder / NAME, _record(result))
    return result


def load(folder: Path) -> Manifest:
    """Read the manifest of a folder; raises InputError where there is none, or one of another schema."""
    path = folder / NAME
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; export the network first") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); export the network again") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else record
        raise InputError(f"{path} has schema {found!r}; this version reads {SCHEMA}, use the version that wrote it")
    try:
        return Manifest(
            architecture=record["architecture"],
            model=record["model"],
            exits=tuple(_exit(entry) for entry in record["exits"]),
            thresholds=tuple(record["thresholds"]),
            preprocessing=record["preprocessing"],
            targets=tuple(record["targets"]),
            budgets=tuple(record["budgets"]),
            libraries={key: tuple(names) for key, names in record["libraries"].items()},
            artefacts=record["artefacts"],
            tools=record["tools"],
        )
    except KeyError as error:
        raise InputError(f"{path} lacks {error.args[0]!r}; export the network again") from None


def differences(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """What in the folder is not as the manifest says, one sentence per file; empty if all is as exported."""
    found = []
    for name in manifest.files:
        if name not in manifest.artefacts:
            found.append(f"{name} has no hash in {NAME}")
    for name, entry in manifest.artefacts.items():
        path = _inside(folder, name)
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != entry["bytes"]:
            found.append(f"{name} has {path.stat().st_size} bytes, {entry['bytes']} were exported")
        elif sha256_file(path) != entry["sha256"]:
            found.append(f"{name} has another SHA-256 than what was exported")
    return tuple(found)


def tools() -> dict[str, str]:
    """The versions of everything that makes artefacts, as far as it is installed."""
    found = {"hwnas": nas.__version__, "python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def add_scripts(folder: Path) -> tuple[str, ...]:
    """Copy `run.py` and what it needs into a folder that has a manifest's files; returns the names.

    They run on Python 3.8 with numpy and onnxruntime alone. Preprocessing and the loop over the exits are the files
    that training and measuring use.
    """
    here = Path(__file__).parent
    sources = (here / "bundle" / "run.py", Path(preprocessing.__file__), Path(cascade.__file__))
    for source in sources:
        atomic_write_bytes(folder / source.name, source.read_bytes())
    return tuple(source.name for source in sources)


def _record(manifest: Manifest) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "architecture": manifest.architecture,
        "model": manifest.model,
        "exits": [
            {"file": e.file, "takes": e.takes, "exit": e.exit, "gives": e.gives, "outputs": e.outputs}
            for e in manifest.exits
        ],
        "thresholds": manifest.thresholds,
        "preprocessing": manifest.preprocessing,
        "targets": manifest.targets,
        "budgets": manifest.budgets,
        "libraries": manifest.libraries,
        "artefacts": manifest.artefacts,
        "tools": manifest.tools,
    }


def _exit(entry: Mapping[str, Any]) -> SegmentFile:
    return SegmentFile(entry["file"], tuple(entry["takes"]), entry["exit"], tuple(entry["gives"]))


def _artefact(folder: Path, name: str) -> dict[str, Any]:
    path = _inside(folder, name)
    if not path.is_file():
        raise InputError(f"the manifest names {name}, which is not in {folder}")
    return {"sha256": sha256_file(path), "bytes": path.stat().st_size}


def _inside(folder: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise InputError(f"{NAME} names {name!r}, which is outside of its folder")
    return folder / pure
