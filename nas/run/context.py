"""What every stage is given: the experiment, its run folder, and the data, space and devices it names."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from hardware_profiles import DeviceProfile, Target
from hardware_profiles import load as load_profile
from hardware_profiles.host import is_here
from nas import config, registry
from nas.devices.measurement import HOST
from nas.errors import InputError
from nas.process.files import ENVIRONMENT, EXPERIMENT, RunFolder, atomic_write_json, atomic_write_text
from nas.process.interrupt import stop_if_asked
from nas.run.reuse import check_reuse
from nas.seeds import derive_seed
from nas.settings import Experiment
from nas.tasks.image_classification.prepared import Dataset, prepare
from search_spaces.slots import SearchSpace

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
#: Batch norm of a sampled network needs the statistics of so many images.
LEAST_ARCH = 32
_PACKAGES = ("hwnas", "jax", "jaxlib", "flax", "optax", "numpy", "onnx", "onnxruntime", "apache-tvm")


@dataclass(frozen=True)
class Materials:
    """What an experiment names, loaded and checked before anything is written."""

    data: Dataset
    space: SearchSpace


@dataclass(frozen=True)
class Context:
    """An opened run; `seed` derives seeds from what they are for, never from the order of calls."""

    experiment: Experiment
    run: RunFolder
    data: Dataset
    space: SearchSpace
    profiles: Mapping[str, DeviceProfile]
    console: Console

    def seed(self, *path: str | int) -> int:
        """The seed of the thing that `path` names in this run."""
        return derive_seed(self.experiment.seed, *path)

    def order(self, part: Literal["val", "test"]) -> NDArray[np.int64]:
        """A fixed random order of a part's images: its beginning is a fair sample, where files are sorted by class."""
        indices = self.data.splits.val if part == "val" else self.data.splits.test
        return np.random.default_rng(self.seed("order", part)).permutation(len(indices))

    def path(self, *parts: str) -> Path:
        """A file of the run folder."""
        return self.run.path.joinpath(*parts)

    def here(self, target: Target) -> bool:
        """Whether a target's device is this machine: `host`, or a profile that `nas profile` measured on it."""
        return target.device == HOST or is_here(self.profiles[target.device])

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Say that a stage begins, and write to the log how long it took."""
        self.console.print(f"[bold]{stage}[/bold]")
        stop_if_asked()
        self.run.log("begin", stage=stage)
        start = time.perf_counter()
        yield
        self.run.log("end", stage=stage, seconds=round(time.perf_counter() - start, 3))
        stop_if_asked()


def materials(experiment: Experiment, begun: bool = False) -> Materials:
    """Load the data and build the space; raises InputError (and the rooms' own) for what cannot be used.

    A run that has `begun` holds its devices' profiles and its readings itself.
    """
    if not begun:
        _check_sources(experiment)
    raw = registry.load(experiment.data.reference)(**experiment.data.arguments)
    data = prepare(raw, experiment.seed, fractions=experiment.splits)
    if not begun:
        check_reuse(experiment, data.splits.record())
    for section, batch in (("supernet", experiment.supernet.batch_size), ("winners", experiment.winners.batch_size)):
        if batch > len(data.splits.train):
            raise InputError(
                f"{section}.batch_size is {batch}, but only {len(data.splits.train)} images are left to train on; "
                "give a smaller one"
            )
    _check_optimiser(experiment, len(data.splits.arch))
    size = data.preprocessing
    make_space = registry.load(experiment.space.reference)
    space = make_space(
        input_shape=(size.channels, *size.size), classes=len(size.class_names), **experiment.space.arguments
    )
    return Materials(data, space)


def _check_optimiser(experiment: Experiment, images: int) -> None:
    """Refuse before anything is trained what could not be optimised afterwards."""
    part = experiment.search.optimiser
    if part is None:
        return
    try:
        registry.load(part.reference)(**part.arguments)
    except InputError as error:
        raise InputError(f"search.optimiser: {error}") from error
    if images < LEAST_ARCH:
        raise InputError(
            f"search.optimiser learns from images kept for architecture, and splits.arch leaves {images}; it takes at "
            f"least {LEAST_ARCH}: give a larger share, such as `splits: {{arch: 0.05}}`"
        )


def _check_sources(experiment: Experiment) -> None:
    for target in experiment.targets:
        if target.device != HOST:
            load_profile(target.device)
    readings = experiment.calibration.measurements
    if readings is not None and not Path(readings).is_file():
        raise InputError(f"calibration.measurements: there is no file {readings!r}")


def open_context(experiment: Experiment, found: Materials, run: RunFolder, console: Console) -> Context:
    """Write experiment.yaml and environment.json into a new run, or check that they still describe a resumed one.

    Raises InputError where the experiment or the data differ from what the run began with.
    """
    environment_path = run.path / ENVIRONMENT
    splits = found.data.splits.record()
    if environment_path.exists():
        environment = json.loads(environment_path.read_text())
        _same_experiment(run.path / EXPERIMENT, experiment)
        if environment["splits"] != splits:
            raise InputError(f"{run.path}: the data are not those this run began with; start anew with another --out")
        if environment["machine"] != _machine():
            console.print(f"[yellow]This run began on {environment['machine']}; results may differ from here on.[/]")
        profiles = {name: DeviceProfile.from_dict(record) for name, record in environment["profiles"].items()}
    else:
        profiles = {target.device: load_profile(target.device) for target in experiment.targets}
        environment = {
            "schema": SCHEMA,
            "versions": _versions(),
            "machine": _machine(),
            "seed": experiment.seed,
            "splits": splits,
            "profiles": {name: profile.to_dict() for name, profile in profiles.items()},
        }
        atomic_write_text(run.path / EXPERIMENT, config.dump(experiment))
        atomic_write_json(environment_path, environment)
        notes = [*found.data.raw.notes]
        if found.data.splits.left_out:
            notes.append(f"{found.data.splits.left_out} training images stand in the test part too and are left out")
        for note in notes:
            console.print(f"[yellow]{escape(found.data.raw.name)}: {escape(note)}[/]")
            run.log("note", text=note)
    return Context(experiment, run, found.data, found.space, profiles, console)


def _same_experiment(path: Path, experiment: Experiment) -> None:
    # Compared as experiments, not as texts: what an older release did not write has its default.
    before = config.load(path)
    for key in (field.name for field in fields(Experiment)):
        was, now = getattr(before, key), getattr(experiment, key)
        if was != now:
            raise InputError(
                f"{path.parent} was begun with another experiment: {key} was {was} and is {now}; "
                "start anew with another --out, or resume with the same file and options"
            )


def _machine() -> dict[str, Any]:
    return {"platform": platform.platform(), "processor": _processor(), "cores": len(os.sched_getaffinity(0))}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
