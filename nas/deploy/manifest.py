"""The manifest of an exported network: which files, for which targets, made by what, and how to use them.

It is what a bundle's `run.py` reads, and what tells a file that was exported from one that was exchanged. File names
in it are relative to its folder. There is no date in it: the same export gives the same manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from nas.deploy import cascade
from nas.deploy.names import MANIFEST, POLICY
from nas.deploy.policy import policy_file
from nas.deploy.segment import SegmentFile
from nas.errors import InputError
from nas.exits.base import ExitPolicy
from nas.process import versions
from nas.process.files import atomic_write_bytes, atomic_write_json, read_json, sha256_file, understood
from nas.process.release import VERSION
from nas.tasks.image_classification import preprocessing

#: Manifests of schema 1 held the thresholds too, which verifying rewrote; those of schema 2 knew no exit policy.
SCHEMA: Final = 3
_READS: Final = (1, 2, SCHEMA)
#: Of these the programs run as they are; those of schema 2 decide by the largest probability.
_RUNS: Final = (2, SCHEMA)
_POLICY_OF_2: Final[Mapping[str, Any]] = {"class": "MaxProbability", "arguments": {}}
_REMEDY: Final = "export the network again"

#: The programs of a bundle by name, and where they stand; besides these the exit policy's, as POLICY.
SCRIPTS: Final[Mapping[str, Path]] = {
    source.name: source
    for source in (
        Path(__file__).parent / "bundle" / "run.py",
        Path(preprocessing.__file__),
        Path(cascade.__file__),
    )
}


@dataclass(frozen=True)
class Manifest:
    """What stands in manifest.json.

    `architecture` is the network's key; `model` the file of the whole network with all exits as outputs; `exits` its
    segments in order, whose thresholds stand in a file of their own. `libraries` has, per key of a target, the segments
    that were built for it in the order of the exits. `budgets` and `targets` are records of the caller's;
    `preprocessing` is that of `nas.tasks.image_classification.preprocessing`, `policy` that of `policy.policy_record`.
    `artefacts` and `tools` are filled in by `write`.
    """

    architecture: str
    model: str
    exits: tuple[SegmentFile, ...]
    preprocessing: Mapping[str, Any]
    policy: Mapping[str, Any]
    targets: tuple[Mapping[str, Any], ...] = ()
    budgets: tuple[Mapping[str, Any], ...] = ()
    libraries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    artefacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def segments(self, key: str) -> tuple[SegmentFile, ...]:
        """The segments in the order of the exits: those that were built for the target with this key, or the models."""
        built = self.libraries.get(key, tuple(entry.file for entry in self.exits))
        return tuple(replace(entry, file=file) for entry, file in zip(self.exits, built, strict=True))

    @property
    def scripts(self) -> tuple[str, ...]:
        """The programs that belong to it."""
        return (*SCRIPTS, POLICY) if self.schema == SCHEMA else tuple(SCRIPTS)

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
        **{f: getattr(manifest, f) for f in Manifest.__dataclass_fields__ if f not in ("artefacts", "tools", "schema")},
        artefacts=artefacts,
        tools=tools(),
    )
    atomic_write_json(folder / MANIFEST, _record(result))
    return result


def load(folder: Path) -> Manifest:
    """Read the manifest of a folder; raises InputError where there is none, or one of another schema."""
    path = folder / MANIFEST
    if not path.exists():
        raise InputError(f"{path} is not there; export the network first")
    record = read_json(path, _REMEDY)
    if record.get("schema") not in _READS:
        found = record.get("schema")
        raise InputError(f"{path} has schema {found!r}; this version reads {SCHEMA}, use the version that wrote it")
    with understood(path, _REMEDY):
        return Manifest(
            architecture=record["architecture"],
            model=record["model"],
            exits=tuple(_exit(entry) for entry in record["exits"]),
            preprocessing=record["preprocessing"],
            policy=record["policy"] if record["schema"] == SCHEMA else _POLICY_OF_2,
            targets=tuple(record["targets"]),
            budgets=tuple(record["budgets"]),
            libraries={key: tuple(names) for key, names in record["libraries"].items()},
            artefacts={
                name: {"sha256": entry["sha256"], "bytes": entry["bytes"]}
                for name, entry in record["artefacts"].items()
            },
            tools=record["tools"],
            schema=record["schema"],
        )


def differences(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """What in the folder is not as the manifest says, one sentence per file; empty if all is as exported."""
    found = []
    for name in manifest.files:
        if name not in manifest.artefacts:
            found.append(f"{name} has no hash in {MANIFEST}")
    for name, entry in manifest.artefacts.items():
        path = _inside(folder, name)
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != entry["bytes"]:
            found.append(f"{name} has {path.stat().st_size} bytes, {entry['bytes']} were exported")
        elif sha256_file(path) != entry["sha256"]:
            found.append(f"{name} has another SHA-256 than what was exported")
    return tuple(found)


def require_as_exported(folder: Path, again: str) -> Manifest:
    """The manifest of a folder whose files are those that were exported.

    Raises InputError, naming the files that are not and the command `again` that exports them anew.
    """
    found = load(folder)
    if found.schema not in _RUNS:
        raise InputError(f"{folder / MANIFEST} was written by an older release; export the winner again with `{again}`")
    if changed := differences(folder, found):
        raise InputError(
            f"{folder} does not hold what was exported: {'; '.join(changed)}. Nothing was verified; "
            f"export it again with `{again}`"
        )
    return found


def tools() -> dict[str, str]:
    """The versions of everything that makes artefacts, as far as it is installed."""
    return {"hwnas": VERSION, **versions.installed(versions.OF_ARTEFACTS)}


def add_scripts(folder: Path, policy: ExitPolicy) -> tuple[str, ...]:
    """Copy `run.py` and what it needs into a folder that has a manifest's files; returns the names.

    They run on Python 3.8 with numpy and onnxruntime alone. Preprocessing, the loop over the exits and the exit policy
    are the files that training and measuring use.
    """
    sources = {**SCRIPTS, POLICY: policy_file(policy)}
    for name, source in sources.items():
        atomic_write_bytes(folder / name, source.read_bytes())
    return tuple(sources)


def _record(manifest: Manifest) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "architecture": manifest.architecture,
        "model": manifest.model,
        "exits": [
            {"file": e.file, "takes": e.takes, "exit": e.exit, "gives": e.gives, "outputs": e.outputs}
            for e in manifest.exits
        ],
        "preprocessing": manifest.preprocessing,
        "policy": manifest.policy,
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
        raise InputError(f"{MANIFEST} names {name!r}, which is outside of its folder")
    return folder / pure
