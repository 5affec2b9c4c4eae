"""An experiment as frozen data: what `parse` reads from YAML and every stage reads from.

The classes here are the YAML's sections and their fields its keys (a unit suffix such as `_s` is dropped there), so a
default or a check is written once; an annotation says which kind of component is named, and what a YAML means that
leaves the key out. Nothing here imports a heavy package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from hardware_profiles import HOST, Target
from nas.config import registry
from nas.config.budget import Budget
from nas.config.component import ComponentSpec
from nas.config.kinds import (
    DATA,
    EVALUATOR,
    EXECUTOR,
    EXIT_POLICY,
    LATENCY_MODEL,
    OPTIMISER,
    RUNNER,
    SEARCHER,
    SPACE,
    Default,
    Example,
)
from nas.config.plugins import Plugins
from nas.config.units import Seconds
from nas.errors import InputError
from nas.tasks.image_classification.fractions import OptionalPart, SplitFractions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nas.exits.base import ExitPolicy

    Floats = NDArray[np.float64]

#: Bytes of a name that becomes a file's: 255 are the most, and beside it stand suffixes and a temporary prefix.
LONGEST_NAME: Final = 220
#: More networks to calibrate with, per batch of the search, or random networks in a step of training are a mistake.
_MOST: Final = 10_000

Objective = Literal[
    "accuracy",
    "balanced_accuracy",
    "score",
    "worst_case_latency",
    "expected_latency",
    "params",
    "macs",
    "peak_memory",
    "weight_bytes",
]
Feature = Literal["naswot", "synflow", "jacob_cov", "macs"]


def _at_least(section: str, **limits: tuple[float, float]) -> None:
    for name, (value, least) in limits.items():
        if not value >= least:
            raise InputError(f"{section}.{name} must be at least {least:g}, got {value:g}")


def _at_most(section: str, **values: int) -> None:
    for name, value in values.items():
        if value > _MOST:
            raise InputError(f"{section}.{name} must be at most {_MOST:,}, got {value}")


def require_folder_name(what: str, name: str) -> None:
    """Raise InputError for a name that no folder of a run should have; `what` says what is named so."""
    if not name[:1].isalnum() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise InputError(
            f"{what} {name!r} becomes a folder: begin with a letter or digit, go on with these, '-', '_' and '.'"
        )
    if (size := len(name.encode())) > LONGEST_NAME:
        raise InputError(
            f"{what} {name[:40] + '...'!r} becomes a folder, and it has {size} bytes: {LONGEST_NAME} are the most"
        )


@dataclass(frozen=True)
class CalibrationSettings:
    """How the latency model gets to know the target: `networks` are measured before the search starts.

    `measurements` names a file of readings from an earlier run on the same target, used instead of measuring.
    """

    networks: int = 12
    measurements: str | None = None

    def __post_init__(self) -> None:
        _at_least("calibration", networks=(self.networks, 0))
        _at_most("calibration", networks=self.networks)


@dataclass(frozen=True)
class SupernetSettings:
    """Training of the shared weights; `max_time` caps it by cutting epochs short before it starts.

    `final_rate` is the share of the learning rate that is left at the end, `averaging` the share of the steps over
    which the weights are averaged. `reuse` names the folder of a run whose shared weights, trained in the same way, are
    taken instead.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    random_subnets: int = 2
    final_rate: float = 0.0
    averaging: float = 0.0
    augment: bool = True
    max_time_s: Seconds | None = None
    reuse: str | None = None

    def __post_init__(self) -> None:
        _at_least("supernet", epochs=(self.epochs, 1), batch_size=(self.batch_size, 2))
        _at_least("supernet", random_subnets=(self.random_subnets, 0), weight_decay=(self.weight_decay, 0))
        _at_most("supernet", random_subnets=self.random_subnets)
        if not 0 < self.learning_rate < 10:
            raise InputError(f"supernet.learning_rate must lie between 0 and 10, got {self.learning_rate}")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"supernet.label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")
        for name, share in (("final_rate", self.final_rate), ("averaging", self.averaging)):
            if not 0 <= share <= 1:
                raise InputError(f"supernet.{name} is a share and must lie in [0, 1], got {share}")


@dataclass(frozen=True)
class SearchSettings:
    """How many networks are judged, by what, proposed by which searcher, on how many validation images.

    An `optimiser` runs before: its proposals are judged first, and it gives a prior to searchers that take one. The
    `evaluator` judges, and the `executor` says where. `features` are what models of accuracy know of a network besides
    its genes and its latency.
    """

    searcher: Annotated[ComponentSpec, SEARCHER, Default("nsga2")]
    evaluator: Annotated[ComponentSpec, EVALUATOR, Default("supernet")]
    executor: Annotated[ComponentSpec, EXECUTOR, Default("serial")]
    optimiser: Annotated[ComponentSpec, OPTIMISER] | None = None
    evaluations: int = 256
    batch: int = 32
    images: int = 1000
    calibration_images: int = 512
    objectives: tuple[Objective, ...] = ("accuracy", "worst_case_latency")
    features: tuple[Feature, ...] = ()

    @property
    def balanced(self) -> bool:
        """Whether networks are chosen by their balanced accuracy, in which every class counts the same."""
        return "balanced_accuracy" in self.objectives

    @property
    def by_score(self) -> bool:
        """Whether networks are ranked by a score that is no accuracy."""
        return "score" in self.objectives

    @property
    def scored(self) -> tuple[Feature, ...]:
        """The features that are zero-cost scores."""
        return tuple(name for name in self.features if name != "macs")

    @property
    def needs_weights(self) -> bool:
        """Whether the shared weights are trained: what judges, or the optimiser, begins with them."""
        kind: Any = self.evaluator.load()
        return self.optimiser is not None or bool(kind.needs_weights)

    def __post_init__(self) -> None:
        _at_least("search", evaluations=(self.evaluations, 1), batch=(self.batch, 1), images=(self.images, 10))
        _at_least("search", calibration_images=(self.calibration_images, 2))
        _at_most("search", batch=self.batch)
        worths = {"accuracy", "balanced_accuracy", "score"}.intersection(self.objectives)
        if len(set(self.objectives)) != len(self.objectives) or len(worths) != 1:
            raise InputError(
                "search.objectives must be different and contain one of accuracy, balanced_accuracy and score, got "
                f"{', '.join(self.objectives) or 'none'}"
            )
        if len(set(self.features)) != len(self.features):
            raise InputError(f"search.features must be different, got {', '.join(self.features)}")


@dataclass(frozen=True)
class WinnerSettings:
    """Training of the chosen networks: `finetune` starts from the shared weights, `scratch` does not.

    Up to `attempts` candidates per budget are measured before training; the first that keeps the budget is trained.
    """

    training: Literal["finetune", "scratch"] = "finetune"
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.05
    weight_decay: float = 3e-5
    candidates: int = 8
    attempts: int = 4
    max_time_s: Seconds | None = None

    def __post_init__(self) -> None:
        _at_least("winners", epochs=(self.epochs, 0), batch_size=(self.batch_size, 2))
        _at_least("winners", candidates=(self.candidates, 1), attempts=(self.attempts, 1))
        _at_least("winners", weight_decay=(self.weight_decay, 0))
        if not 0 < self.learning_rate < 10:
            raise InputError(f"winners.learning_rate must lie between 0 and 10, got {self.learning_rate}")


@dataclass(frozen=True)
class VerifySettings:
    """Measuring the exported winners: interleaved `blocks` of at least `block_time` each, `samples` test images."""

    blocks: int = 5
    block_time_s: Seconds = 0.2
    samples: int = 1000
    parity_samples: int = 256
    tvm: bool = True

    def __post_init__(self) -> None:
        _at_least("verify", blocks=(self.blocks, 3), samples=(self.samples, 20))
        _at_least("verify", parity_samples=(self.parity_samples, 1))


@dataclass(frozen=True)
class Experiment:
    """Everything a run is determined by."""

    name: str
    data: Annotated[ComponentSpec, DATA, Example("{name: digits}")]
    space: Annotated[ComponentSpec, SPACE, Default("mobile")]
    target: Annotated[Target, Example("{device: host, runner: onnxruntime}")]
    budgets: Annotated[tuple[Budget, ...], Example("[{latency: 8 ms}]")]
    latency_model: Annotated[ComponentSpec, LATENCY_MODEL, Default("roofline")]
    search: Annotated[SearchSettings, Default({})]
    exit_policy: Annotated[ComponentSpec, EXIT_POLICY, Default("max_probability")]
    seed: int = 0
    splits: SplitFractions = field(default_factory=SplitFractions)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    supernet: SupernetSettings = field(default_factory=SupernetSettings)
    winners: WinnerSettings = field(default_factory=WinnerSettings)
    verify: VerifySettings = field(default_factory=VerifySettings)

    def __post_init__(self) -> None:
        if not self.budgets:
            raise InputError("budgets must name at least one, such as `- latency: 8 ms`")
        names = [budget.name for budget in self.budgets]
        if len(set(names)) != len(names):
            raise InputError(f"two budgets have the same name: {', '.join(names)}")
        require_folder_name("the experiment's name", self.name)
        for name in names:
            require_folder_name("budget name", name)
        for target in self.targets:
            _check_target(target, self.plugins)
        for budget in self.budgets:
            if budget.needs_thresholds and self.target_of(budget).batch != 1:
                raise InputError(
                    f"budget {budget.name} is about the mean over samples, which leave at different exits one by one: "
                    f"it needs a target with batch 1, not {self.target_of(budget).batch}"
                )

    def target_of(self, budget: Budget) -> Target:
        """The deployment a budget is about: its own, or the experiment's."""
        return budget.target or self.target

    @property
    def policy(self) -> ExitPolicy:
        """When early exits answer; the same for search, thresholds, bundles and measurements."""
        made: ExitPolicy = self.exit_policy.load()(**self.exit_policy.arguments)
        return made

    @property
    def parts_aside(self) -> frozenset[OptionalPart]:
        """The optional parts that are kept from training: those that a stage reads, or that are asked for."""
        read: tuple[OptionalPart, ...] = () if self.search.optimiser is None else ("arch",)
        return self.splits.aside(read)

    @property
    def plugins(self) -> Plugins:
        """What was granted to whoever read this experiment."""
        return self.data.plugins

    @property
    def targets(self) -> tuple[Target, ...]:
        """All deployments that budgets name, the experiment's own first."""
        return tuple(dict.fromkeys((self.target, *(self.target_of(budget) for budget in self.budgets))))


def _check_target(target: Target, plugins: Plugins) -> None:
    plugins.admit(registry.resolve(target.runner, RUNNER.known, "target.runner"))
    if target.device != HOST and target.device.strip().lower() == HOST:
        raise InputError(f"target.device is {target.device!r}; this machine is written `host`")
    if target.dtype != "float32":
        raise InputError(f"target.dtype is {target.dtype!r}, but networks are exported in float32: leave dtype out")
