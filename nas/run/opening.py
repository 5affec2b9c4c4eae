"""Opening a run: everything that its experiment names is loaded and checked before anything is written.

Writes experiment.yaml and environment.json.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware_profiles import HOST, DeviceProfile, cpuinfo
from hardware_profiles import load as load_profile
from hardware_profiles.host import detect, is_here
from hardware_profiles.schema import parse as parse_profile
from latency_models.base import LatencyModel, LooksUp
from nas.config import dump, parse
from nas.config.kinds import RUNNER
from nas.config.plugins import Plugins
from nas.config.settings import Experiment
from nas.deploy.policy import policy_file, prove
from nas.devices.base import DeviceFinder
from nas.devices.local import local_device
from nas.devices.runners import runner_class
from nas.errors import InputError
from nas.process import versions
from nas.process.boundary import Boundary
from nas.process.events import Voice
from nas.process.files import atomic_write_json, atomic_write_text, read_json, sha256_file, understood
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.layout import RunFiles
from nas.run.reuse import check_reuse
from nas.run.soundness import sealed
from nas.tasks.image_classification.prepared import Dataset, prepare
from search_spaces.slots import SearchSpace, complete

SCHEMA = 1
_REMEDY = "restore it, or start anew with another --out"
#: Batch norm of a sampled network needs the statistics of so many images.
LEAST_ARCH = 32


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
        _check_sources(experiment)
    _check_parts(experiment, begun)
    raw = experiment.data.load()(**experiment.data.arguments)
    data = prepare(raw, experiment.seed, fractions=experiment.splits)
    if not begun:
        check_reuse(experiment, data.splits.record())
    for section, batch in (("supernet", experiment.supernet.batch_size), ("winners", experiment.winners.batch_size)):
        if batch > len(data.splits.train):
            raise InputError(
                f"{section}.batch_size is {batch}, but only {len(data.splits.train)} images are left to train on; "
                "give a smaller one"
            )
    size = data.preprocessing
    make_space = experiment.space.load()
    space = make_space(
        input_shape=(size.channels, *size.size), classes=len(size.class_names), **experiment.space.arguments
    )
    space = complete(space)
    _check_optimiser(experiment, len(data.splits.arch))
    if not begun:
        _check_latency_model(experiment, space)
    evaluator = experiment.search.evaluator
    with _making("search.evaluator", evaluator.name):
        # Of a run that is not there yet.
        context = Context(experiment, RunFolder.shared(Path()), data, space, {}, Voice())
        evaluator.load()(context, **evaluator.arguments)
    return Materials(data, space)


def _check_parts(experiment: Experiment, begun: bool) -> None:
    """Make every part that can be made before there is a run; raises InputError with its key for one that cannot be."""
    with _making("exit_policy", experiment.exit_policy.name):
        policy = experiment.policy
    if not begun:
        prove(policy, experiment.exit_policy.name, experiment.exit_policy.arguments)
    executor = experiment.search.executor
    with _making("search.executor", executor.name):
        executor.load()(**executor.arguments).close()
    for target in experiment.targets:
        kind = runner_class(target.runner, experiment.plugins)
        if objection := RUNNER.objection(kind):
            raise InputError(f"target.runner: {target.runner} {objection}")
        if begun:
            continue
        # What this machine can do at most is not asked: measuring that takes a second.
        profile = detect(measure=False) if target.device == HOST else load_profile(target.device)
        with _making("target.runner", target.runner):
            builder = kind.builder(target, profile)
            if is_here(profile):
                kind(target)
        if builder.requirement:
            raise InputError(
                f"target.runner: {target.runner} cannot be built here for {target.device}: {builder.requirement}"
            )
    if experiment.winners.training == "finetune" and not experiment.search.needs_weights:
        raise InputError(
            "winners.training is 'finetune', which begins with shared weights, and search.evaluator "
            f"{experiment.search.evaluator.name!r} has none trained; write `winners: {{training: scratch}}`"
        )


def _check_optimiser(experiment: Experiment, images: int) -> None:
    """Refuse before anything is trained what could not be optimised afterwards."""
    spec = experiment.search.optimiser
    if spec is None:
        return
    try:
        spec.load()(**spec.arguments)
    except InputError as error:
        raise InputError(f"search.optimiser: {error}") from error
    if images < LEAST_ARCH:
        raise InputError(
            f"search.optimiser learns from images kept for architecture, and splits.arch leaves {images}; it takes at "
            f"least {LEAST_ARCH}: give a larger share, such as `splits: {{arch: 0.05}}`"
        )


def _check_latency_model(experiment: Experiment, space: SearchSpace) -> None:
    """Make the latency model of every target, and refuse what would fail when it is calibrated or searched with."""
    spec = experiment.latency_model
    for target in experiment.targets:
        # What this machine can do at most is not asked: measuring that takes a second.
        profile = detect(measure=False) if target.device == HOST else load_profile(target.device)
        with _making("latency_model", spec.name, ValueError):
            model: LatencyModel = spec.load()(profile, target, **spec.arguments)
            if isinstance(model, LooksUp):
                model.by_genome(space)
        if experiment.search.optimiser is not None and model.additive(space) is None:
            raise InputError(
                f"search.optimiser: latency model {spec.name} has no tables over space {space.name} for {target.key}, "
                "and a differentiable search needs them; leave the optimiser out, or give a model whose seconds add up"
            )


def _check_sources(experiment: Experiment) -> None:
    for target in experiment.targets:
        if target.device != HOST:
            load_profile(target.device)
    readings = experiment.calibration.measurements
    if readings is not None and not Path(readings).is_file():
        raise InputError(f"calibration.measurements: there is no file {readings!r}")


def open_context(
    experiment: Experiment,
    found: Materials,
    run: RunFolder,
    voice: Voice,
    devices: DeviceFinder = local_device,
) -> Context:
    """Write experiment and environment into a new run, or check that they still describe a resumed one.

    `devices` finds what takes readings. Raises InputError where the experiment or the data differ from what the run
    began with.
    """
    files = RunFiles(run.path)
    splits, policy = found.data.splits.record(), sha256_file(policy_file(experiment.policy))
    if files.environment.exists():
        environment = read_json(files.environment, _REMEDY)
        if missing := [key for key in ("splits", "machine", "profiles") if key not in environment]:
            raise InputError(f"{files.environment} lacks {missing[0]!r}; {_REMEDY}")
        _same_experiment(files.experiment, experiment)
        if environment["splits"] != splits:
            raise InputError(f"{run.path}: the data are not those this run began with; start anew with another --out")
        if environment.get("exit_policy", policy) != policy:
            raise InputError(
                f"{run.path} was begun with another exit policy: the file of {experiment.exit_policy.name} was changed "
                "since, and scores, thresholds and bundles are of the old one; restore it, or start anew with another "
                "--out"
            )
        if environment["machine"] != _machine():
            voice.warning(f"This run began on {environment['machine']}; results may differ from here on.")
        profiles = _recorded(files, environment)
    elif files.trials.exists() or files.measurements.exists():
        raise InputError(
            f"{run.path} has lost {files.environment.name}, which says what its results depend on; restore it, or "
            "start anew with another --out"
        )
    else:
        from nas.nn import native

        profiles = {target.device: load_profile(target.device) for target in experiment.targets}
        environment = {
            "schema": SCHEMA,
            "versions": dict.fromkeys(("python", *versions.OF_RUNS), "not installed")
            | versions.installed(versions.OF_RUNS),
            "machine": _machine(),
            "seed": experiment.seed,
            "plugins": experiment.plugins.modules,
            "splits": splits,
            "exit_policy": policy,
            "compiled_kernels": native.available(),
            "profiles": {name: profile.to_dict() for name, profile in profiles.items()},
        }
        atomic_write_text(files.experiment, sealed(dump.to_yaml(experiment)))
        atomic_write_json(files.environment, environment)
        notes = [*found.data.raw.notes]
        if found.data.splits.left_out:
            notes.append(f"{found.data.splits.left_out} training images stand in the test part too and are left out")
        for note in notes:
            voice.warning(f"{found.data.raw.name}: {note}")
            run.log("note", text=note)
    return Context(experiment, run, found.data, found.space, profiles, voice, devices)


@contextmanager
def _making(key: str, name: str, *told: type[Exception]) -> Iterator[None]:
    """What goes wrong while a part is made is said with its key; other people's code may raise what it likes."""
    with Boundary(f"{key}: {name} cannot be made", InputError, *told):
        yield


def reopen(path: Path, plugins: Plugins) -> Context:
    """The context of a run that another process has opened: to read it, and to compute what it says.

    Nothing is printed or logged. Raises InputError as opening does.
    """
    files = RunFiles(path)
    experiment = parse.load(files.experiment, plugins=plugins)
    found = materials(experiment, begun=True)
    profiles = _recorded(files, read_json(files.environment, _REMEDY))
    return Context(experiment, RunFolder.shared(path), found.data, found.space, profiles, Voice())


def _recorded(files: RunFiles, environment: Mapping[str, Any]) -> dict[str, DeviceProfile]:
    with understood(files.environment, _REMEDY):
        return {name: parse_profile(record) for name, record in environment["profiles"].items()}


def _same_experiment(path: Path, experiment: Experiment) -> None:
    """Refuse another experiment than a run was begun with; where networks are judged changes no result."""
    # Compared as experiments, not as texts: what an older release did not write has its default.
    before = dump.plain(parse.load(path, plugins=experiment.plugins))
    now = dump.plain(experiment)
    for written in (before, now):
        del written["search"]["executor"]
    for key, was, value in _differences(before, now):
        raise InputError(
            f"{path.parent} was begun with another experiment: {key} was {was!r:.80} and is {value!r:.80}; "
            "start anew with another --out, or resume with the same file and options"
        )


def _differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The keys that differ, as deep as sections go, with what stands there."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}".removeprefix("."))
    elif before != now:
        yield key, before, now


def _machine() -> dict[str, Any]:
    return {"platform": platform.platform(), "processor": _processor(), "cores": len(os.sched_getaffinity(0))}


def _processor() -> str:
    found = cpuinfo.first()
    return found.get("model name", platform.machine()) if found else platform.processor()
