"""An experiment as frozen data: what `parse` reads from YAML and every stage reads from.

The classes here are the YAML's sections and their fields its keys (a unit suffix such as `_s` is dropped there), so a
default or a check is written once; an annotation says which kind of component is named, and what a YAML means that
leaves the key out. Nothing here imports a heavy package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from hardware_profiles import HOST, Target
from nas.config.component import ComponentSpec
from nas.config.kinds import DATA, LATENCY_MODEL, OPTIMISER, SEARCHER, SPACE, Default, Example
from nas.config.plugins import Plugins
from nas.config.units import Seconds, format_seconds
from nas.errors import InputError
from nas.tasks.image_classification.fractions import SplitFractions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from latency_models.base import LogStudent, Prediction

    Floats = NDArray[np.float64]

BudgetOf = Literal["worst_case", "expected"]
Objective = Literal[
    "accuracy", "worst_case_latency", "expected_latency", "params", "macs", "peak_memory", "weight_bytes"
]


def _at_least(section: str, **limits: tuple[float, float]) -> None:
    for name, (value, least) in limits.items():
        if not value >= least:
            raise InputError(f"{section}.{name} must be at least {least:g}, got {value:g}")


def _becomes_a_folder(what: str, name: str) -> None:
    if not name[:1].isalnum() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise InputError(
            f"{what} {name!r} becomes a folder: begin with a letter or digit, go on with these, '-', '_' and '.'"
        )


def _limit_as_name(written: Mapping[str, Any]) -> str:
    """What a budget without a name is called: `worst-8ms`."""
    return f"{written.get('of', Budget.of)}-{written['latency']}".replace(" ", "").replace("_case", "")


@dataclass(frozen=True)
class Budget:
    """A limit that a network must keep on a target, when measured there.

    `worst_case` bounds a sample that passes every exit; `expected` bounds the mean over the data with its exits.
    """

    latency_s: Seconds
    of: BudgetOf = "worst_case"
    name: Annotated[str, Default(_limit_as_name)] = ""
    target: Target | None = None

    @staticmethod
    def stored(of: str, latency_s: float) -> Budget | None:
        """A budget of a kind that a file names, None for a kind that this version does not know."""
        return next((Budget(latency_s, known) for known in get_args(BudgetOf) if known == of), None)

    @property
    def how(self) -> str:
        """What is bounded, for people: `in the worst case`."""
        match self.of:
            case "worst_case":
                return "in the worst case"
            case "expected":
                return "on average"

    def describe(self) -> str:
        """One phrase for people: `at most 8.00 ms in the worst case`."""
        return f"at most {format_seconds(self.latency_s)} {self.how}"

    @property
    def needs_thresholds(self) -> bool:
        """Whether thresholds are solved for it, and a stream of samples that leave by them is measured.

        Otherwise the calls to the last exit decide, and earlier exits only cost time.
        """
        match self.of:
            case "worst_case":
                return False
            case "expected":
                return True

    def seconds(self, cumulative_s: ArrayLike, exit_rates: ArrayLike) -> Floats:
        """The seconds that it bounds [...], of seconds to each exit of networks and the shares that leave [..., K]."""
        import numpy as np

        match self.of:
            case "worst_case":
                return np.asarray(cumulative_s, np.float64)[..., -1]
            case "expected":
                return np.asarray(np.vecdot(exit_rates, np.asarray(cumulative_s, np.float64)))

    def lower_bound(self, cumulative_s: ArrayLike) -> Floats:
        """The least that thresholds can bring it to [...], of seconds to each exit of networks [..., K], NaN if off."""
        import numpy as np

        match self.of:
            case "worst_case":
                return np.asarray(cumulative_s, np.float64)[..., -1]
            case "expected":  # all leave at the first exit
                return np.asarray(np.nanmin(cumulative_s, axis=-1))

    def believed(self, prediction: Prediction, exit_rates: ArrayLike) -> LogStudent:
        """What a prediction says of the seconds that it bounds, for n networks and the shares that leave [n, K]."""
        import numpy as np

        match self.of:
            case "worst_case":
                return prediction.believed()
            case "expected":
                return prediction.believed(np.asarray(exit_rates, np.float64))


@dataclass(frozen=True)
class CalibrationSettings:
    """How the latency model gets to know the target: `networks` are measured before the search starts.

    `measurements` names a file of readings from an earlier run on the same target, used instead of measuring.
    """

    networks: int = 12
    measurements: str | None = None

    def __post_init__(self) -> None:
        _at_least("calibration", networks=(self.networks, 0))


@dataclass(frozen=True)
class SupernetSettings:
    """Training of the shared weights; `max_time` caps it by cutting epochs short before it starts.

    `reuse` names the folder of a run whose shared weights, trained in the same way, are taken instead.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    random_subnets: int = 2
    augment: bool = True
    max_time_s: Seconds | None = None
    reuse: str | None = None

    def __post_init__(self) -> None:
        _at_least("supernet", epochs=(self.epochs, 1), batch_size=(self.batch_size, 2))
        _at_least("supernet", random_subnets=(self.random_subnets, 0), weight_decay=(self.weight_decay, 0))
        if not 0 < self.learning_rate < 10:
            raise InputError(f"supernet.learning_rate must lie between 0 and 10, got {self.learning_rate}")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"supernet.label_smoothing must be at least 0 and below 1, got {self.label_smoothing}")


@dataclass(frozen=True)
class SearchSettings:
    """How many networks are judged with the shared weights, by which searcher, on how many validation images.

    An `optimiser` runs before: its proposals are judged first, and it gives a prior to searchers that take one.
    """

    searcher: Annotated[ComponentSpec, SEARCHER, Default("nsga2")]
    optimiser: Annotated[ComponentSpec, OPTIMISER] | None = None
    evaluations: int = 256
    batch: int = 32
    images: int = 1000
    calibration_images: int = 512
    objectives: tuple[Objective, ...] = ("accuracy", "worst_case_latency")

    def __post_init__(self) -> None:
        _at_least("search", evaluations=(self.evaluations, 1), batch=(self.batch, 1), images=(self.images, 10))
        _at_least("search", calibration_images=(self.calibration_images, 2))
        if len(set(self.objectives)) != len(self.objectives) or "accuracy" not in self.objectives:
            raise InputError(
                f"search.objectives must be different and contain accuracy, got {', '.join(self.objectives) or 'none'}"
            )


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
        _becomes_a_folder("the experiment's name", self.name)
        for name in names:
            _becomes_a_folder("budget name", name)
        for target in self.targets:
            _check_target(target)
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
    def plugins(self) -> Plugins:
        """What was granted to whoever read this experiment."""
        return self.data.plugins

    @property
    def targets(self) -> tuple[Target, ...]:
        """All deployments that budgets name, the experiment's own first."""
        return tuple(dict.fromkeys((self.target, *(self.target_of(budget) for budget in self.budgets))))


def _check_target(target: Target) -> None:
    if target.device != HOST and target.device.strip().lower() == HOST:
        raise InputError(f"target.device is {target.device!r}; this machine is written `host`")
    if target.runner != "onnxruntime":
        raise InputError(
            f"target.runner is {target.runner!r}, but budgets are measured with onnxruntime; TVM libraries are "
            "exported and timed beside it: write `runner: onnxruntime`"
        )
    if target.dtype != "float32":
        raise InputError(f"target.dtype is {target.dtype!r}, but networks are exported in float32: leave dtype out")
