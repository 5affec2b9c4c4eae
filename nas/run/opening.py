"""Opening a run: everything that its experiment names is loaded and checked before anything is written.

Writes experiment.yaml and environment.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardware_profiles import DeviceProfile
from hardware_profiles import load as load_profile
from hardware_profiles.schema import parse as parse_profile
from nas.config import dump, parse
from nas.config.plugins import Plugins
from nas.config.settings import Experiment
from nas.deploy.policy import policy_file
from nas.devices.base import DeviceFinder
from nas.devices.finding import find_device
from nas.errors import InputError
from nas.process import versions
from nas.process.events import Voice
from nas.process.facts import cores_used
from nas.process.files import atomic_write_json, atomic_write_text, read_json, sha256_file, understood
from nas.run import components
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.layout import RunFiles
from nas.run.machine import facts_here, machine
from nas.run.reuse import check_reuse
from nas.run.rungs import Rungs
from nas.run.soundness import sealed
from nas.tasks.image_classification.prepared import Dataset, prepare
from nas.tasks.image_classification.splits import OPTIONAL
from search_spaces.slots import SearchSpace

SCHEMA = 1
_REMEDY = "restore it, or start anew with another --out"


@dataclass(frozen=True)
class Materials:
    """What an experiment names, loaded and checked before anything is written."""

    data: Dataset
    space: SearchSpace


def materials(experiment: Experiment, begun: bool = False) -> Materials:
    """Load the data and build the space; raises InputError (and the rooms' own) for what cannot be used.

    A run that has `begun` holds its devices' profiles and its readings itself.
    """
    if not begun:
        components.require_sources(experiment)
    components.make_parts(experiment, begun)
    raw = components.make_data(experiment)
    data = prepare(raw, experiment.seed, fractions=experiment.splits, aside=experiment.parts_aside)
    if not begun:
        check_reuse(experiment, data)
    components.require_lengths(experiment, len(data.splits.train))
    size = data.preprocessing
    space = components.make_space(experiment, (size.channels, *size.size), len(size.class_names))
    components.make_optimiser(experiment, len(data.splits.arch))
    # Of a run that is not there yet.
    components.make_evaluator(Context(experiment, RunFolder.shared(Path()), data, space, {}, Voice()))
    return Materials(data, space)


def open_context(
    experiment: Experiment,
    found: Materials,
    run: RunFolder,
    voice: Voice,
    devices: DeviceFinder = find_device,
    rungs: Rungs | None = None,
) -> Context:
    """Write experiment and environment into a new run, or check that they still describe a resumed one.

    `devices` finds what takes readings, `rungs` may stop the run. Raises InputError where the experiment or the data
    differ from what the run began with.
    """
    files = RunFiles(run.path)
    data, policy = found.data, sha256_file(policy_file(experiment.policy))
    if files.environment.exists():
        environment = read_json(files.environment, _REMEDY)
        if missing := [key for key in ("splits", "machine", "profiles") if key not in environment]:
            raise InputError(f"{files.environment} lacks {missing[0]!r}; {_REMEDY}")
        before = _same_experiment(files.experiment, experiment)
        data = _cut_as_begun(data, experiment, files, environment)
        if environment["splits"] != data.splits.record():
            raise InputError(f"{run.path}: the data are not those this run began with; start anew with another --out")
        if environment.get("exit_policy", policy) != policy:
            raise InputError(
                f"{run.path} was begun with another exit policy: the file of {experiment.exit_policy.name} was changed "
                "since, and scores, thresholds and bundles are of the old one; restore it, or start anew with another "
                "--out"
            )
        if environment["machine"] != machine():
            voice.warning(f"This run began on {environment['machine']}; results may differ from here on.")
        with understood(files.environment, _REMEDY):
            warning = _other_threads(before, experiment, environment["machine"])
        if warning:
            voice.warning(warning)
        profiles = _recorded(files, environment)
    elif files.trials.exists() or files.measurements.exists():
        raise InputError(
            f"{run.path} has lost {files.environment.name}, which says what its results depend on; restore it, or "
            "start anew with another --out"
        )
    else:
        from nas.nn import backend, native

        profiles = {target.device: load_profile(target.device) for target in experiment.targets}
        here = facts_here()
        environment = {
            "schema": SCHEMA,
            "versions": dict.fromkeys(("python", *versions.OF_RUNS), "not installed")
            | versions.installed(versions.OF_RUNS),
            "machine": machine(),
            "facts": asdict(here),
            "seed": experiment.seed,
            "plugins": experiment.plugins.modules,
            "splits": data.splits.record(),
            "exit_policy": policy,
            "compiled_kernels": native.available(),
            "backend": backend.name(),
            "profiles": {name: profile.to_dict() for name, profile in profiles.items()},
        }
        atomic_write_text(files.experiment, sealed(dump.to_yaml(experiment)))
        atomic_write_json(files.environment, environment)
        for warning in here.warnings:
            voice.warning(warning)
        for note in data.notes:
            voice.warning(f"{data.raw.name}: {note}")
            run.log("note", text=note)
    return Context(experiment, run, data, found.space, profiles, voice, devices, rungs=rungs)


def _cut_as_begun(data: Dataset, experiment: Experiment, files: RunFiles, environment: Mapping[str, Any]) -> Dataset:
    """The data as the run began with them: older releases kept parts aside that no stage reads."""
    with understood(files.environment, _REMEDY):
        recorded = [part for part in OPTIONAL if environment["splits"][part]["images"]]
    aside = experiment.parts_aside.union(recorded)
    if aside == experiment.parts_aside:
        return data
    return prepare(data.raw, experiment.seed, fractions=experiment.splits, aside=aside)


def reopen(path: Path, plugins: Plugins) -> Context:
    """The context of a run that another process has opened: to read it, and to compute what it says.

    Nothing is printed or logged. Raises InputError as opening does.
    """
    files = RunFiles(path)
    experiment = parse.load(files.experiment, plugins=plugins)
    found = materials(experiment, begun=True)
    environment = read_json(files.environment, _REMEDY)
    data = _cut_as_begun(found.data, experiment, files, environment)
    return Context(experiment, RunFolder.shared(path), data, found.space, _recorded(files, environment), Voice())


def _recorded(files: RunFiles, environment: Mapping[str, Any]) -> dict[str, DeviceProfile]:
    with understood(files.environment, _REMEDY):
        return {name: parse_profile(record) for name, record in environment["profiles"].items()}


def _same_experiment(path: Path, experiment: Experiment) -> Experiment:
    """What a run was begun with; refuses another experiment: only where networks are judged changes no result."""
    # Compared as experiments, not as texts: what an older release did not write has its default.
    begun_with = parse.load(path, plugins=experiment.plugins)
    before, now = dump.plain(begun_with), dump.plain(experiment)
    for written in (before, now):
        del written["search"]["executor"]
    for key, was, value in differences(before, now):
        raise InputError(
            f"{path.parent} was begun with another experiment: {key} was {was!r:.80} and is {value!r:.80}; "
            "start anew with another --out, or resume with the same file and options"
        )
    return begun_with


def _other_threads(before: Experiment, now: Experiment, machine: Any) -> str | None:
    """A sentence where networks were judged with another number of threads than they will be, else None."""
    was, will = (each.search.executor.arguments.get("threads_per_worker") for each in (before, now))
    if was == will:
        return None
    # Without a number there are as many as the process may use cores.
    was, will = was or machine["cores"], will or len(cores_used())
    if was == will:
        return None
    return (
        f"Networks were judged with {_threads(was)} at a time when this run began, and will be with {_threads(will)}: "
        "what is found from here on may differ in its last digits."
    )


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count != 1)}"


def differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The keys that differ, as deep as sections go, with what stands there."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*before, *now)):
            yield from differences(before.get(name), now.get(name), f"{key}.{name}".removeprefix("."))
    elif before != now:
        yield key, before, now
