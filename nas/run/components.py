"""Can every part that an experiment names be made, before there is a run?

What is wrong with a part is said with its key; other people's code may raise what it likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hardware_profiles import HOST, DeviceProfile, Target
from hardware_profiles import load as load_profile
from hardware_profiles.host import detect
from hardware_profiles.target import PROVIDERS, UNTRIED_PROVIDERS
from nas.config.kinds import RUNNER
from nas.config.settings import LONGEST_NAME, Experiment
from nas.deploy.policy import prove
from nas.devices.finding import runs_here
from nas.devices.runners import runner_class
from nas.errors import InputError
from nas.process.boundary import Boundary
from nas.process.facts import cores_used
from nas.run.context import Context
from search_spaces.operators import ShapeError
from search_spaces.slots import SearchSpace, SpaceError, complete

#: Batch norm of a sampled network needs the statistics of so many images.
LEAST_ARCH: Final = 32
#: Steps of a training are counted in 32 bits.
_MOST_STEPS: Final = 2**31 - 1


@contextmanager
def making(key: str, name: str, *told: type[Exception]) -> Iterator[None]:
    """Where a part is made: what goes wrong is said with its key, by its text alone for the types in `told`."""
    with Boundary(f"{key}: {name} cannot be made", InputError, *told):
        yield


def profile_before(target: Target) -> DeviceProfile:
    """The profile of a target's device before a run stores it; what this machine reaches at most is not measured."""
    return detect(measure=False) if target.device == HOST else load_profile(target.device)


def make_parts(experiment: Experiment, begun: bool) -> None:
    """Make every part that needs neither data nor space; raises InputError with its key for one that cannot be."""
    with making("exit_policy", experiment.exit_policy.name):
        policy = experiment.policy
    if not begun:
        prove(policy, experiment.exit_policy.name, experiment.exit_policy.arguments)
    executor = experiment.search.executor
    with making("search.executor", executor.name):
        made = executor.load()(**executor.arguments)
        made.close()
    if getattr(made, "elsewhere", False):
        _require_modules(experiment)
    for target in experiment.targets:
        kind: Any = runner_class(target.runner, experiment.plugins)
        if objection := RUNNER.objection(kind):
            raise InputError(f"target.runner: {target.runner} {objection}")
        if not begun:
            _make_runner(kind, target)
    if experiment.winners.training == "finetune" and not experiment.search.needs_weights:
        raise InputError(
            "winners.training is 'finetune', which begins with shared weights, and search.evaluator "
            f"{experiment.search.evaluator.name!r} has none trained; write `winners: {{training: scratch}}`"
        )


def _require_modules(experiment: Experiment) -> None:
    """Refuse parts that other processes cannot import: those of the program that is running here."""
    search = experiment.search
    parts = [experiment.data, experiment.space, experiment.latency_model, experiment.exit_policy, search.searcher]
    parts += filter(None, (search.evaluator, search.optimiser))
    for name in (*(part.reference for part in parts), *(target.runner for target in experiment.targets)):
        if name.partition(":")[0] == "__main__":
            raise InputError(
                f"search.executor: {search.executor.name} works in other processes, and none of them can import "
                f"{name}: it stands in the program that is running here; put it into a module, or write "
                "`executor: serial`"
            )


def _make_runner(kind: Any, target: Target) -> None:
    """Make a target's runner, if its device is here, and what builds for it."""
    if (size := len(target.key.encode())) > LONGEST_NAME:
        raise InputError(
            f"target {target.key[:60] + '...'!r} becomes a file's name of {size} bytes, and {LONGEST_NAME} are the "
            "most: give a device by a short id (its file in hardware_profiles/), and a short power_mode"
        )
    profile = profile_before(target)
    here = runs_here(target, profile)
    cores = len(cores_used()) if here else int(profile.cores.value)
    if target.threads > cores and profile.kind == "cpu":
        who = "this process may use" if here else f"{target.device} has"
        raise InputError(
            f"target.threads is {target.threads}, and {who} {cores} core{'s' * (cores != 1)}: more threads only wait; "
            "give as many at most"
        )
    if target.provider in UNTRIED_PROVIDERS:
        raise InputError(
            f"target.provider: {target.provider} was never tried with this project, and what it computes on would not "
            f"be known; give one of {', '.join(PROVIDERS)}"
        )
    with making("target.runner", target.runner):
        builder = kind.builder(target, profile)
        if here:
            kind(target)
    if builder.requirement:
        raise InputError(
            f"target.runner: {target.runner} cannot be built here for {target.device}: {builder.requirement}"
        )


def make_data(experiment: Experiment) -> Any:
    """Load the images that an experiment names, as its loader gives them."""
    with Boundary(f"data: {experiment.data.name} cannot be loaded", InputError):
        return experiment.data.load()(**experiment.data.arguments)


def make_space(experiment: Experiment, input_shape: tuple[int, ...], classes: int) -> SearchSpace:
    """Make the search space for images of a shape [channels, height, width] in so many classes."""
    spec = experiment.space
    with making("space", spec.name, SpaceError, ShapeError):
        made = complete(spec.load()(input_shape=input_shape, classes=classes, **spec.arguments))
        # What is wrong with a table may show no earlier than in its genes and slots.
        _ = made.genes, made.slots
    return made


def require_lengths(experiment: Experiment, images: int) -> None:
    """Refuse trainings on so many images that cannot fill a batch, or have more steps than can be counted."""
    trainings = [
        ("supernet", experiment.supernet.epochs, experiment.supernet.batch_size),
        ("winners", experiment.winners.epochs, experiment.winners.batch_size),
    ]
    judged = experiment.search.evaluator.arguments
    if judged.keys() >= {"epochs", "batch_size"}:
        trainings.append(("search.evaluator", judged["epochs"], judged["batch_size"]))
    for section, epochs, batch_size in trainings:
        if batch_size > images:
            raise InputError(
                f"{section}.batch_size is {batch_size}, but only {images} images are left to train on; "
                "give a smaller one"
            )
        steps = epochs * (images // max(batch_size, 1))
        if steps > _MOST_STEPS:
            raise InputError(
                f"{section}.epochs is {epochs}: these are {steps} steps, and {_MOST_STEPS} are the most; "
                "give fewer epochs"
            )


def make_optimiser(experiment: Experiment, images: int) -> None:
    """Make the optimiser, and refuse it where too few images are kept for architecture."""
    spec = experiment.search.optimiser
    if spec is None:
        return
    with making("search.optimiser", spec.name):
        spec.load()(**spec.arguments)
    if images < LEAST_ARCH:
        raise InputError(
            f"search.optimiser learns from images kept for architecture, and splits.arch leaves {images}; it takes at "
            f"least {LEAST_ARCH}: give a larger share, such as `splits: {{arch: 0.05}}`"
        )


def make_evaluator(context: Context) -> None:
    """Make what judges networks, with the context of a run that is not there yet."""
    experiment, evaluator = context.experiment, context.experiment.search.evaluator
    with making("search.evaluator", evaluator.name, SpaceError):
        made = evaluator.load()(context, **evaluator.arguments)
    _require_worth(experiment, not hasattr(made, "scores"))


def _require_worth(experiment: Experiment, by_score: bool) -> None:
    """Refuse to call a score an accuracy, and to take one for what an accuracy alone can tell."""
    search, name = experiment.search, experiment.search.evaluator.name
    if by_score != search.by_score:
        worth = next(each for each in search.objectives if each in ("accuracy", "balanced_accuracy", "score"))
        gives, instead = ("a score that is no accuracy", "score") if by_score else ("an accuracy", "accuracy")
        objectives = ", ".join(instead if each == worth else each for each in search.objectives)
        raise InputError(
            f"search.objectives has {worth}, and evaluator {name} gives networks {gives}; write `objectives: "
            f"[{objectives}]`, or name another evaluator"
        )
    if not by_score:
        return
    why = f"evaluator {name} looks at no answers, and cannot tell how many samples leave at which exit"
    if "expected_latency" in search.objectives:
        raise InputError(f"search.objectives has expected_latency: {why}; write worst_case_latency")
    for budget in experiment.budgets:
        if budget.needs_thresholds:
            raise InputError(
                f"budget {budget.name} is a mean over the data, and search.evaluator: {why}; give a budget of the "
                "worst case, or another evaluator"
            )


def require_sources(experiment: Experiment) -> None:
    """Refuse devices and files that are not there, before anything takes long."""
    for target in experiment.targets:
        if target.device != HOST:
            load_profile(target.device)
    readings = experiment.calibration.measurements
    if readings is not None and not Path(readings).is_file():
        raise InputError(f"calibration.measurements: there is no file {readings!r}")
