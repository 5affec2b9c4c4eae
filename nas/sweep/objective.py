"""What a searched sweep looks for: a figure of the verdict of a budget's winner, and how far the budget is broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from nas.config.registry import nearest
from nas.config.units import format_seconds
from nas.errors import InputError
from nas.report import formatting
from nas.run.verdict import Verdict, Verdicts

#: What chooses the next cells.
WAYS: Final = ("optuna_tpe",)
#: Of a budget that is broken, without a bound that says by how much.
_BROKEN: Final = 1.0


@dataclass(frozen=True)
class Figure:
    """A figure of a verdict: which way is better, what it is of, in words, and what a budget without a winner is worth.

    `without` is None where such a cell says nothing that could be learned from.
    """

    direction: Literal["maximize", "minimize"]
    of: Callable[[Verdict], float | None]
    said: Callable[[float], str]
    without: float | None = None


def _count(name: str) -> Figure:
    return Figure("minimize", lambda verdict: verdict.counts.get(name), lambda value: f"{value:,.0f}")


#: None is of test images: who chooses a recipe by these has none left that would say what it gives.
FIGURES: Final[Mapping[str, Figure]] = {
    "accuracy": Figure("maximize", lambda verdict: verdict.val_accuracy, lambda value: f"{value:.1%}", 0.0),
    "latency": Figure("minimize", lambda verdict: verdict.upper_95_s, format_seconds),
    "energy": Figure("minimize", lambda verdict: verdict.energy_j, formatting.energy),
    "memory": Figure("minimize", lambda verdict: verdict.memory_bytes, formatting.size),
    "params": _count("params"),
    "macs": _count("macs"),
}


@dataclass(frozen=True)
class Search:
    """How the cells of a sweep are chosen: `by` what, for which figure of which budget's winner, and how many.

    `budget` is None where the file names none: the first one is meant.
    """

    by: str
    objective: str
    budget: str | None
    samples: int

    @property
    def figure(self) -> Figure:
        """What is looked for."""
        return FIGURES[self.objective]

    @property
    def said(self) -> str:
        """What is looked for, in words."""
        most = "highest" if self.figure.direction == "maximize" else "lowest"
        of = "accuracy on validation images" if self.objective == "accuracy" else self.objective
        return f"the {most} {of} of the winner of {self.budget}"


@dataclass(frozen=True)
class Found:
    """What a complete cell gave: the figure, if there is one, and how far the budget is broken, 0 where it is kept.

    Where it was not measured `kept` is False, and the prediction says how far it is broken.
    """

    value: float | None
    violation: float
    kept: bool = False


def require_known(by: str, objective: str) -> None:
    """Raise InputError, with the nearest that there is, for what nobody can search by or for."""
    if by not in WAYS:
        raise InputError(f"search_by: there is no way of searching {by!r}{nearest(by, WAYS)} Known: {', '.join(WAYS)}")
    if objective not in FIGURES:
        why = " (recipes are not chosen on test images)" if "test" in objective else ""
        raise InputError(
            f"objective: the verdict has no {objective!r}{why}{nearest(objective, FIGURES)} Known: {', '.join(FIGURES)}"
        )


def of_budget(search: Search, names: Sequence[str]) -> Search:
    """The search with its budget, one of those that each cell has; raises InputError for one that there is not."""
    budget = search.budget or names[0]
    if budget not in names:
        raise InputError(
            f"budget: the experiment has no budget {budget!r}{nearest(budget, names)} Its budgets: {', '.join(names)}"
        )
    return replace(search, budget=budget)


def found_in(search: Search, verdicts: Verdicts) -> Found:
    """What the verdicts of a run that came to its end say; of a run in which nothing fits there are none."""
    verdict = next((each for each in verdicts.winners if each.name == search.budget), None)
    if verdict is None:
        return Found(search.figure.without, _BROKEN)
    if verdict.kept:
        return Found(search.figure.of(verdict), 0.0, kept=True)
    upper_s, limit_s = verdict.upper_95_s, verdict.budget_s
    if verdict.kept is None:
        predicted_s = verdict.predicted_s
        return Found(search.figure.of(verdict), max(0.0, predicted_s / limit_s - 1) if predicted_s and limit_s else 0.0)
    over = upper_s / limit_s - 1 if upper_s and limit_s else 0.0
    return Found(search.figure.of(verdict), over if over > 0 else _BROKEN)
