"""What was promised and kept: a verdict per budget, as verify and test find it and as everybody reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nas.config.budget import Budget
from nas.config.units import format_seconds

State = Literal["kept", "not kept", "not measured"]


@dataclass(frozen=True)
class BudgetRow:
    """A limit as the experiment or the verification names it; `target` is a key, empty for the experiment's own.

    `of` is what is bounded and `how` says it in words, empty for a kind that is not known here; `needs_thresholds`:
    whether it is a figure that thresholds bring about.
    """

    name: str
    of: str
    how: str
    needs_thresholds: bool
    latency_s: float | None
    target: str
    #: What is measured for it, in words, and every how many seconds a call is due, None for one after another.
    statistic: str = ""
    #: The same over a stream of images that leave early; empty where that changes nothing.
    stream_statistic: str = ""
    every_s: float | None = None

    @staticmethod
    def of_budget(budget: Budget, target: str) -> BudgetRow:
        """A budget of the experiment at hand."""
        return BudgetRow(
            budget.name,
            budget.of,
            budget.how,
            budget.needs_thresholds,
            budget.latency_s,
            target,
            budget.statistic,
            budget.stream_statistic,
            budget.every_s,
        )


@dataclass(frozen=True)
class ExitRow:
    """One exit of a winner: `accuracy` if all left there, the shares that do on validation and on test images.

    `threshold` None at an early exit means that nothing ever leaves there.
    """

    name: str
    cumulative_s: float | None
    rate: float | None
    threshold: float | None
    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    test_rate: float | None = None

    @property
    def share(self) -> float | None:
        """The share that leaves here, on test images where it is known."""
        return self.rate if self.test_rate is None else self.test_rate


@dataclass(frozen=True)
class ClassRow:
    """One class: how many test images it has, and the share of them that is answered rightly; None without any."""

    name: str
    images: float
    recall: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Check:
    """How an artefact's numbers compare with JAX, and its accuracy on as many images; or why there are none."""

    runtime: str
    max_difference: float | None = None
    disagreement: float | None = None
    samples: float | None = None
    ok: bool | None = None
    skipped: str = ""
    accuracy: float | None = None


@dataclass(frozen=True)
class Attempt:
    """A measurement behind the choice for a budget: of the worst case, before training or of a winner."""

    key: str
    purpose: str
    predicted_s: float | None
    measured_s: float | None
    kept: bool | None


@dataclass(frozen=True)
class Verdict:
    """What the verification says of one budget's network; energy and memory are estimates.

    `within_budget`: whether the bound of every measurement of it is within the budget. `kept` is that of a network that
    was tested; None: not measured, or not tested yet. Seconds, joules, bytes; None where nothing is known.
    """

    budget: BudgetRow
    target: str
    budget_s: float | None
    predicted_s: float | None
    predicted_std_s: float | None
    measured_s: float | None
    upper_95_s: float | None
    contended: bool
    disturbed: float | None
    within_budget: bool | None
    reason: str
    worst_case_s: float | None
    expected_s: float | None
    key: str
    genome: tuple[int, ...]
    exits: tuple[ExitRow, ...]
    val_accuracy: float | None
    counts: Mapping[str, float | None]
    energy_j: float | None
    no_energy: str
    memory_bytes: float | None
    attempts: tuple[Attempt, ...]
    files: tuple[str, ...]
    #: What the prediction has within 90 %, and its probability of being within the budget.
    predicted_90_s: tuple[float, float] | None = None
    probability_within: float | None = None
    #: Of what was measured, by name; empty in verdicts of releases that did not note them.
    sha256: Mapping[str, str] = field(default_factory=dict)
    kept: bool | None = None
    before_export: float | None = None
    test_accuracy: float | None = None
    interval: tuple[float, float] | None = None
    test_images: float | None = None
    balanced_accuracy: float | None = None
    classes: tuple[ClassRow, ...] = ()
    checks: tuple[Check, ...] = ()
    tvm_s: float | None = None
    #: What 95 and 99 % of so many single calls stayed within, by the wall clock and none of them left out.
    p95_s: float | None = None
    p99_s: float | None = None
    single_calls: float | None = None
    #: Every how many seconds one of them was due (None: one after another), and why they say nothing certain, if so.
    every_s: float | None = None
    single_refused: str = ""
    #: Whether they were over a stream of images that leave where thresholds let them, else to the last exit.
    over_images: bool = False
    #: Shares of single calls, and the seconds that they stayed within.
    distribution: tuple[tuple[float, float], ...] = ()

    @property
    def name(self) -> str:
        """The name of the budget."""
        return self.budget.name

    @property
    def state(self) -> State:
        """Whether the budget is kept, in a word."""
        return "not measured" if self.kept is None else "kept" if self.kept else "not kept"

    @property
    def prediction(self) -> str:
        """The prediction and how sure it is, for people; empty in verdicts of releases that did not say."""
        if self.predicted_s is None or self.predicted_90_s is None or self.probability_within is None:
            return ""
        low, high = map(format_seconds, self.predicted_90_s)
        chance = likely(self.probability_within)
        return f"predicted {format_seconds(self.predicted_s)}; 90 %: {low} to {high}; {chance} within the budget"

    @property
    def statistic(self) -> str:
        """What `measured_s` is, in words."""
        return (self.over_images and self.budget.stream_statistic) or self.budget.statistic

    @property
    def headroom(self) -> float | None:
        """Share of the budget that the upper bound leaves free; negative where it is broken."""
        if self.upper_95_s is None or not self.budget_s:
            return None
        return 1 - self.upper_95_s / self.budget_s


@dataclass(frozen=True)
class Verdicts:
    """What became of every budget: `winners` that have a network, and statements for those that have none.

    `looks` is how often the winners were measured; `tested`: whether test has settled what was measured last; `kept`:
    whether every budget was kept, by a network that was tested. `found` is false where nothing was verified yet.
    `tried` is how many choices were verified since test has settled something the last time.
    """

    winners: tuple[Verdict, ...]
    unmet: tuple[tuple[BudgetRow, str], ...]
    looks: int = 0
    tested: bool = False
    kept: bool = False
    found: bool = True
    tried: int = 0


def likely(probability: float) -> str:
    """A probability in whole percent, for people; nothing is certain."""
    if 0.01 <= probability <= 0.99:
        return f"{100 * probability:.0f} % likely"
    return "less than 1 % likely" if probability < 0.5 else "more than 99 % likely"


def exit_label(number: int, count: int) -> str:
    """What people call an exit, counted from 0: the names of operators count places where an exit could be."""
    return "final" if number == count - 1 else f"exit {number + 1}"
