"""Shared weights of another run: one training serves budgets and targets that were thought of later.

What the weights depend on has to be the same in both runs, but for the parts of the images: these may differ, as long
as no network is judged on images that its weights were trained on. So weights carry the fingerprints of all of them.
"""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from nas.config import dump, parse, plain_yaml
from nas.config.settings import Experiment
from nas.errors import InputError
from nas.nn.weights import from_bytes
from nas.process.files import atomic_write_bytes, read_json, read_jsonl, sha256_file, understood
from nas.run.folder import RunFolder
from nas.run.layout import ENVIRONMENT, EXPERIMENT, SUPERNET, SUPERNET_IMAGES, RunFiles
from nas.tasks.image_classification.dataset import Labels
from nas.tasks.image_classification.prepared import Dataset
from nas.tasks.image_classification.splits import Fingerprints, Part

_COMPONENTS = ("data", "space")
_SAME = ("seed", *_COMPONENTS, "supernet")
#: What beside these the stage reads: which images there are to train on, compared by the images themselves.
_CUT = "splits"
#: The parts on which something is chosen or judged.
_JUDGED: Final[tuple[Part, ...]] = ("val", "arch", "cert", "test")
#: The event of the log that says so.
_TAKEN: Final = "reused"
_LEAVE_OUT = "leave the key out"
_REMEDY = f"make them the same, or {_LEAVE_OUT}"


def weights_depend_on(experiment: Experiment) -> str:
    """All of an experiment that its shared weights depend on, as a text to be compared.

    The parts that are kept from training are not in it: one run may keep more aside than it reads.
    """
    supernet = dataclasses.replace(experiment.supernet, reuse=None)
    splits = dataclasses.replace(experiment.splits, reserve=())
    known = {**{name: getattr(experiment, name) for name in _SAME}, "supernet": supernet, _CUT: splits}
    return json.dumps({name: dump.plain(value) for name, value in known.items()}, sort_keys=True, default=str)


def check_reuse(experiment: Experiment, data: Dataset) -> None:
    """Refuse a run whose shared weights cannot be those of this experiment, with these data.

    Raises InputError; nothing is written.
    """
    if experiment.supernet.reuse is None:
        return
    files = RunFiles(Path(experiment.supernet.reuse))
    what = f"supernet.reuse: {str(files.root)!r}"
    if not files.experiment.is_file():
        raise InputError(f"{what} is not a run: it has no {EXPERIMENT}; give the folder of one")
    _check_same(files.experiment, experiment, what)
    if not files.supernet.is_file():
        raise InputError(f"{what} has no {SUPERNET} yet; finish it with `nas run ... --resume`, or leave the key out")
    with understood(f"{what} is damaged: {SUPERNET}", _LEAVE_OUT):
        metadata = from_bytes(files.supernet.read_bytes())[1]
        left = metadata["recipe"]["steps"] - metadata["step"]
    _check_images(files, data, what)
    if left > 0:
        raise InputError(
            f"{what} is not trained to its end, {left} steps are left; finish it with `nas run ... --resume`, or leave "
            "the key out"
        )


def _check_images(files: RunFiles, data: Dataset, what: str) -> None:
    """Refuse weights that have seen images which this experiment chooses or judges by, or other data than these."""
    if not files.supernet_images.is_file():
        _check_parts(files, data, what)
        return
    with understood(f"{what} is damaged: {SUPERNET_IMAGES}", _LEAVE_OUT):
        stored = np.load(io.BytesIO(files.supernet_images.read_bytes()), allow_pickle=False)
        seen: Fingerprints = stored["images"]
        labelled = _labelled(seen, stored["labels"])
    for part in _JUDGED:
        own = data.splits.fingerprints[part]
        if known := int(np.isin(own, seen).sum()):
            advice = f"train the other with `splits: {{reserve: [{part}]}}`, or " if part in ("arch", "cert") else ""
            raise InputError(
                f"{what} was trained on {known} of the {len(own)} images of this experiment's part {part}, and "
                f"networks would be judged on what they have seen; {advice}{_LEAVE_OUT}"
            )
    own = data.splits.fingerprints["train"]
    both = np.isin(own, seen)
    other = int((both & ~np.isin(_labelled(own, data.labels("train")), labelled)).sum())
    if other or not both.any():
        how = f"{other} of them have other labels" if other else "it has seen none of these"
        raise InputError(f"{what} was trained on other images than the data hold now: {how}; {_LEAVE_OUT}")


def _labelled(images: Fingerprints, labels: Labels) -> Fingerprints:
    """Fingerprints of images [n] with their labels [n]: another number for another label."""
    return images + (labels.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)


def _check_parts(files: RunFiles, data: Dataset, what: str) -> None:
    """The same for a run of an older release: it is known to have trained on none of its own other parts, no more."""
    now = data.splits.record()
    with understood(f"{what} is damaged: {ENVIRONMENT}", _LEAVE_OUT):
        began_with = read_json(files.environment, _LEAVE_OUT)["splits"]
        differs = [part for part in _JUDGED if now[part]["images"] and began_with[part] != now[part]]
    if differs:
        raise InputError(
            f"{what} was trained on other images than the data hold now, or with other splits: the part {differs[0]} "
            f"is not the same; {_LEAVE_OUT}"
        )


def write_seen(files: RunFiles, data: Dataset) -> None:
    """Write down which images, with which labels, the shared weights of a run are trained on."""
    stream = io.BytesIO()
    np.savez(stream, images=data.splits.fingerprints["train"], labels=data.labels("train"))
    atomic_write_bytes(files.supernet_images, stream.getvalue())


def _check_same(file: Path, experiment: Experiment, what: str) -> None:
    """Compare what the weights depend on; of the other run's components nothing is imported that is not named here."""
    written, here = plain_yaml.read(file), dump.plain(experiment)
    for key in _COMPONENTS:
        was, now = _name(written.get(key, here[key])), here[key]["name"]
        if was != now:
            raise InputError(f"{what} was trained otherwise: {key} was {was!r} there and is {now!r} here; {_REMEDY}")
    # What an older release did not write has its default, which is known now that the components are those of here.
    kept = {key: value for key, value in here.items() if key not in _SAME}
    try:
        before = parse.experiment(
            {**kept, **{key: written[key] for key in _SAME if key in written}}, experiment.plugins
        )
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    for key in _SAME:
        was, now = _without_reuse(getattr(before, key)), _without_reuse(getattr(experiment, key))
        if was != now:
            raise InputError(f"{what} was trained otherwise: {key} was {was} there and is {now} here; {_REMEDY}")


def _name(section: Any) -> Any:
    return section.get("name") if isinstance(section, dict) else section


def take_weights(experiment: Experiment, run: RunFolder, data: Dataset) -> None:
    """Copy the weights into a run, with what is known of the images they have seen; raises as `check_reuse`."""
    check_reuse(experiment, data)
    copy_weights(RunFiles(Path(experiment.supernet.reuse or "")), RunFiles(run.path))
    note_taken(experiment, run)


def note_taken(experiment: Experiment, run: RunFolder) -> None:
    """Write to the log whose weights a run has, unless it says so: it may have been killed before it did."""
    own = RunFiles(run.path)
    if not any(row.get("event") == _TAKEN for row in read_jsonl(own.log)):
        source = Path(experiment.supernet.reuse or "")
        run.log(_TAKEN, supernet=str(source), sha256=sha256_file(own.supernet))


def copy_weights(source: RunFiles, own: RunFiles) -> None:
    """Copy the shared weights of a run, and what is known of the images they have seen."""
    if source.supernet_images.is_file():
        atomic_write_bytes(own.supernet_images, source.supernet_images.read_bytes())
    atomic_write_bytes(own.supernet, source.supernet.read_bytes())


def _without_reuse(value: Any) -> Any:
    return dataclasses.replace(value, reuse=None) if hasattr(value, "reuse") else value
