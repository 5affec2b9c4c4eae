"""Differentiable search: one run ends at the limit, whatever the scale of the loss.

After LightNAS (Luo et al. 2022, arXiv 2208.14446): sampled networks, gradients of their choices, a latency term whose
weight is itself learned, and a network derived at the end. What differs: logits are effects on the loss in units of
their own spread less the multiplier times latency, (effect - multiplier * seconds) / temperature, so neither the
loss's nor the target's scale matters; the latency term is exact where the cost's mean is known; and the limit is kept
by construction in the derivation. `ByLossRegression` is the same for losses without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from nas.errors import InputError
from nas.optimisers.base import Cost, Feedback, Floats, Ints, Loss, Problem, SearchResult, Smooth, legal
from nas.optimisers.controller import Controller
from nas.optimisers.derive import FLOOR, derive, fastest_within, without_limit
from nas.optimisers.effects import Effects, Guided, LossRegression
from nas.optimisers.exits_cost import ExpectedExits
from nas.optimisers.policy import draw, entropy, fair, probabilities, standardised, temperature

#: What a state has beside the search's own arrays: effects from gradients and losses, from losses alone, and of choices
#: on seconds.
_PARTS: Final = ("guided", "losses", "seconds")


@dataclass(frozen=True)
class ByLossRegression:
    """Satisfies `ArchitectureOptimiser` by losses alone; a function of its arguments and the problem's seed.

    `steps` genomes are sampled; before that every option is taken `warm_up` times. The temperature falls from `hot` to
    `cold`, in units of the usual difference between options; `gain` is the controller's. Raises InputError for a
    setting out of range.
    """

    steps: int = 3200
    warm_up: int = 4
    hot: float = 1.0
    cold: float = 0.2
    gain: float = 0.1
    proposals: int = 8

    def __post_init__(self) -> None:
        whole = {"steps": self.steps, "warm_up": self.warm_up, "proposals": self.proposals}
        for name, number in whole.items():
            if number < 1:
                raise InputError(f"{name} of a differentiable search must be at least 1, got {number}")
        if not 0 < self.cold <= self.hot or self.gain <= 0:
            raise InputError(
                f"a differentiable search needs 0 < cold <= hot and a positive gain, got hot {self.hot}, "
                f"cold {self.cold}, gain {self.gain}"
            )

    def networks(self, sizes: Ints) -> int:
        """How many networks a search samples, of genes with so many options [genes]."""
        return self.warm_up * int(sizes.max()) + self.steps

    def begin(self, problem: Problem, cost: Cost, limit_s: float) -> Search:
        """A search for networks within `limit_s` seconds, to be driven step by step; raises NothingFits."""
        return Search(self, problem, cost, limit_s)

    def run(self, problem: Problem, loss: Loss, cost: Cost, limit_s: float) -> SearchResult:
        """One search for networks within `limit_s` seconds from beginning to end; raises NothingFits."""
        search = self.begin(problem, cost, limit_s)
        for step in range(search.steps):
            genome = search.sample(step)
            search.update(genome, step, loss(genome, step))
        return search.result()


@dataclass(frozen=True)
class Differentiable(ByLossRegression):
    """Satisfies `ByGradients`: the same search by gradients, in turns with the last `share` of the weights' training.

    With `share` 0 the weights are trained first.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise InputError(f"share of a differentiable search must be between 0 and 1, got {self.share}")


class Search:
    """The state of one run, for whoever interleaves it with training: `sample`, then `update`, step by step.

    Raises NothingFits at once if no network keeps the limit.
    """

    def __init__(self, settings: ByLossRegression, problem: Problem, cost: Cost, limit_s: float) -> None:
        self.settings, self.problem, self.cost, self.limit_s = settings, problem, cost, limit_s
        # Better to hear it now than after thousands of steps.
        fastest_within(problem, cost, limit_s)
        self.legal = legal(problem)
        self.sizes = np.asarray(problem.sizes, np.int64)
        #: Steps until every option has been taken often enough.
        self.warm_up = settings.warm_up * int(self.sizes.max())
        self.steps = settings.networks(self.sizes)
        self.effects: Effects | None = None
        self.sampled_s = None if isinstance(cost, Smooth) else LossRegression(self.legal)
        self.controller = Controller(settings.gain)
        self.preference = np.zeros(self.legal.shape)
        self.logits = np.where(self.legal, 0.0, -np.inf)
        self.temperature = settings.hot
        self.failed = 0
        #: Genes [genes] that had an effect in any genome; the others have nothing to decide.
        self.used = np.zeros(len(self.sizes), np.bool_)
        #: Of what was expected of genomes and what they said: number, sums, sums of squares and of products.
        self.moments = np.zeros(6)
        self._latency_effect, self._scale = np.zeros(self.legal.shape), (1.0, 1.0)

    def sample(self, step: int) -> Ints:
        """The canonical network [genes] to evaluate at a step."""
        if step < self.warm_up:
            drawn = fair(self.sizes, step, self.problem.seed)
        else:
            drawn = draw(self.logits, np.random.default_rng((self.problem.seed, step)))
        return np.asarray(self.problem.canonical(drawn[None])[0], np.int64)

    def update(self, genome: Ints, step: int, feedback: Feedback) -> None:
        """Learn from the feedback on a genome, and move the multiplier once the warm-up is over.

        Feedback that isn't finite is counted and left out.
        """
        if not np.isfinite(feedback.loss) or (
            feedback.gradient is not None and not np.isfinite(feedback.gradient).all()
        ):
            self.failed += 1
            return
        if self.effects is None:
            self.effects = LossRegression(self.legal) if feedback.gradient is None else Guided(self.legal)
        used = self.problem.active(genome[None])[0]
        self.used |= used
        if step >= self.warm_up:
            expected = -float(np.where(used, self.preference[np.arange(len(genome)), genome], 0.0).sum())
            self.moments += _moments(expected, feedback.loss)
        self.effects.observe(genome, used, feedback)
        if self.sampled_s is not None:
            self.sampled_s.observe(genome, used, Feedback(float(self.cost.seconds(genome[None])[0])))
        if step + 1 < self.warm_up:
            return
        loss_effect, spread_loss = standardised(self.effects.estimate(), self.legal)
        self._latency_effect, spread_s = standardised(self._marginal(), self.legal)
        self.preference, self._scale = -loss_effect, (spread_loss, spread_s)
        progress = (step + 1 - self.warm_up) / self.settings.steps
        self.temperature = temperature(progress, self.settings.hot, self.settings.cold)
        # As the estimates settle so does the multiplier: its steps shrink with the temperature.
        seconds = float(self.cost.seconds(self.derived()[None])[0])
        self.controller.update(seconds, self.limit_s, spread_s, len(self.sizes), self.temperature / self.settings.hot)
        self.logits = self._penalised() / self.temperature

    def state(self) -> dict[str, Floats]:
        """All that has been learned, as arrays by name, for `restore`; samples follow from step and seed."""
        numbers = np.array([self.controller.multiplier, self.temperature, self.failed, *self._scale])
        own = {
            "numbers": numbers,
            "logits": self.logits,
            "preference": self.preference,
            "slowness": self._latency_effect,
            "used": self.used.astype(np.float64),
            "moments": self.moments,
        }
        kind = "guided" if isinstance(self.effects, Guided) else "losses"
        parts: dict[str, Effects | None] = {kind: self.effects, "seconds": self.sampled_s}
        return own | {
            f"{name}/{key}": value for name, part in parts.items() if part for key, value in part.state().items()
        }

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Go on from a `state` of a search with the same settings, problem, cost and limit."""
        self.controller.multiplier, self.temperature, failed, *scale = (float(number) for number in state["numbers"])
        self.failed, self._scale = int(failed), (scale[0], scale[1])
        self.logits, self.preference, self._latency_effect = state["logits"], state["preference"], state["slowness"]
        self.used, self.moments = state["used"] > 0, state["moments"].copy()
        parts = {
            name: {k.partition("/")[2]: v for k, v in state.items() if k.startswith(f"{name}/")} for name in _PARTS
        }
        if parts["guided"] or parts["losses"]:
            self.effects = Guided(self.legal) if parts["guided"] else LossRegression(self.legal)
            self.effects.restore(parts["guided"] or parts["losses"])
        if self.sampled_s is not None:
            self.sampled_s.restore(parts["seconds"])

    def derived(self) -> Ints:
        """The canonical network [genes] of the largest logits, which the limit doesn't bind."""
        return np.asarray(self.problem.canonical(self._penalised().argmax(axis=1)[None])[0], np.int64)

    def result(self) -> SearchResult:
        """The networks derived from what has been learned; raises NothingFits."""
        before = self.derived()
        preferred = without_limit(self.problem, self.preference, self.cost)
        preferred_s = float(self.cost.seconds(preferred[None])[0])
        # Seconds of exits are estimates: filling them up to the limit would switch off what was learned. And where the
        # best network is within the limit, there is nothing to fill.
        binds = preferred_s > self.limit_s
        floor = FLOOR if binds and not isinstance(self.cost, ExpectedExits) else 0.0
        genomes, taken_s = derive(self.problem, self.preference, self.cost, self.limit_s, before, floor)
        proposals, seconds = genomes[: self.settings.proposals], taken_s[: self.settings.proposals]
        probability = probabilities(self.logits)
        before_s = float(self.cost.seconds(before[None])[0])
        undecided = entropy(probability, self.legal)[self.used] if self.used.any() else np.zeros(1)
        known, chance = _correlation(self.moments)
        report: dict[str, float] = {
            "price_loss_per_s": self.controller.units(*self._scale) if binds else 0.0,
            "preferred_of_limit": preferred_s / self.limit_s,
            "violation_before": before_s / self.limit_s - 1,
            "entropy_mean": float(undecided.mean()),
            "entropy_max": float(undecided.max()),
            "loss_explained": known,
            "loss_explained_chance": chance,
            "failed_steps": float(self.failed),
        }
        return SearchResult(proposals, seconds, probability, self.preference, before, before_s, report)

    def _penalised(self) -> Floats:
        """What each choice is worth at the multiplier in force, in units of spread [genes, options]."""
        return np.where(self.legal, self.preference - self.controller.multiplier * self._latency_effect, -np.inf)

    def _marginal(self) -> Floats:
        """Exact where the cost knows it, else what the sampled genomes show."""
        if isinstance(self.cost, Smooth):
            return self.cost.marginal(probabilities(self.logits))
        assert self.sampled_s is not None
        return self.sampled_s.estimate()


def unbound(report: Mapping[str, float]) -> str:
    """What a report says about a limit that does not bind, in a sentence; empty where it does, or nothing is known."""
    share = report.get("preferred_of_limit", math.inf)
    if share > 1:
        return ""
    return f"the budget does not bind: the network that the loss prefers takes {share:.0%} of it, and more buys nothing"


def _moments(x: float, y: float) -> Floats:
    return np.array([1.0, x, y, x * x, y * y, x * y])


def _correlation(moments: Floats) -> tuple[float, float]:
    """The correlation behind sums, and how large it is by chance with probability 0.05; 0 where nothing varies."""
    n, x, y, xx, yy, xy = (float(value) for value in moments)
    if n < 2:
        return 0.0, 1.0
    spread = max(xx - x * x / n, 0.0) * max(yy - y * y / n, 0.0)
    # Sums of equal numbers leave rounding errors behind.
    flat = spread <= (1e-12 * max(xx, 1e-300)) * (1e-12 * max(yy, 1e-300))
    return (0.0 if flat else (xy - x * y / n) / spread**0.5), 2.0 / n**0.5
