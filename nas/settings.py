"""An experiment as frozen data: what `config` reads from YAML and every stage reads from.

The classes here are the YAML's sections and their fields its keys (a unit suffix such as `_s` is dropped there), so a
default or a check is written once. Nothing here imports a heavy package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hardware_profiles import Target
from nas.errors import InputError
from nas.tasks.image_classification.fractions import SplitFractions
from nas.units import Seconds, format_seconds

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


@dataclass(frozen=True)
class Part:
    """A named implementation of something (a data set, a space, a searcher) and the arguments given to it."""

    name: str
    reference: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """A limit that a network must keep on a target, when measured there.

    `worst_case` bounds a sample that passes every exit; `expected` bounds the mean over the data with its exits.
    """

    latency_s: Seconds
    of: BudgetOf = "worst_case"
    name: str = ""
    target: Target | None = None

    def describe(self) -> str:
        """One phrase for people: `at most 8.00 ms in the worst case`."""
        how = "in the worst case" if self.of == "worst_case" else "on average"
        return f"at most {format_seconds(self.latency_s)} {how}"


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

    searcher: Part
    optimiser: Part | None = None
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
    data: Part
    space: Part
    target: Target
    budgets: tuple[Budget, ...]
    latency_model: Part
    search: SearchSettings
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
            if budget.of == "expected" and self.target_of(budget).batch != 1:
                raise InputError(
                    f"budget {budget.name} is about the mean over samples, which leave at different exits one by one: "
                    f"it needs a target with batch 1, not {self.target_of(budget).batch}"
                )

    def target_of(self, budget: Budget) -> Target:
        """The deployment a budget is about: its own, or the experiment's."""
        return budget.target or self.target

    @property
    def targets(self) -> tuple[Target, ...]:
        """All deployments that budgets name, the experiment's own first."""
        return tuple(dict.fromkeys((self.target, *(self.target_of(budget) for budget in self.budgets))))


def _check_target(target: Target) -> None:
    if target.device != "host" and target.device.strip().lower() == "host":
        raise InputError(f"target.device is {target.device!r}; this machine is written `host`")
    if target.runner != "onnxruntime":
        raise InputError(
            f"target.runner is {target.runner!r}, but budgets are measured with onnxruntime; TVM libraries are "
            "exported and timed beside it: write `runner: onnxruntime`"
        )
    if target.dtype != "float32":
        raise InputError(f"target.dtype is {target.dtype!r}, but networks are exported in float32: leave dtype out")
