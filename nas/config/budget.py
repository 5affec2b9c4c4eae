"""A budget, and every answer that hangs on what it is about: nobody else asks of which kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from hardware_profiles import Target
from nas.config.kinds import Default
from nas.config.units import Seconds, format_seconds
from nas.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from latency_models.base import LogStudent, Prediction
    from latency_models.tail import Tail

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

BudgetOf = Literal["worst_case", "expected", "p95", "p99"]
#: Shares that are added up may miss their sum by so much.
_ROUNDING = 1e-9


def _limit_as_name(written: Mapping[str, Any]) -> str:
    """What a budget without a name is called: `worst-8ms`, `p95-8ms-every-33ms`."""
    every = f"-every-{written['every']}" if written.get("every") is not None else ""
    return f"{written.get('of', Budget.of)}-{written['latency']}{every}".replace(" ", "").replace("_case", "")


@dataclass(frozen=True)
class Budget:
    """A limit that a network must keep on a target, when measured there.

    `worst_case` bounds a sample that passes every exit; `expected` bounds the mean over the data with its exits; `p95`
    and `p99` what 95 and 99 of 100 single calls take, over a stream of samples that leave at its exits, one due every
    `every_s` seconds, or one after another. Raises InputError for a duty cycle that calls within the limit would not
    fit, or of another kind.
    """

    latency_s: Seconds
    of: BudgetOf = "worst_case"
    name: Annotated[str, Default(_limit_as_name)] = ""
    target: Target | None = None
    every_s: Seconds | None = None

    def __post_init__(self) -> None:
        if self.every_s is None:
            return
        every, latency = format_seconds(self.every_s), format_seconds(self.latency_s)
        if self.percentile is None:
            raise InputError(
                f"budget {self.name!r} of {self.of} says `every: {every}`, but only percentiles of single calls are "
                "measured at a duty cycle: write `of: p95` or `of: p99`, or leave `every` out"
            )
        if self.every_s < self.latency_s:
            raise InputError(
                f"budget {self.name!r} asks for a call every {every} that may take {latency}: calls that just keep it "
                "would fall behind; `every` must be at least the latency"
            )

    @staticmethod
    def stored(of: str, latency_s: float, every_s: float | None = None) -> Budget | None:
        """A budget of a kind that a file names, None for one that this version does not know."""
        known = next((kind for kind in get_args(BudgetOf) if kind == of), None)
        if known is None:
            return None
        try:
            return Budget(latency_s, known, every_s=every_s)
        except InputError:
            return None

    @property
    def how(self) -> str:
        """What is bounded, for people: `in the worst case`."""
        match self.of:
            case "worst_case":
                return "in the worst case"
            case "expected":
                return "on average"
            case "p95" | "p99":
                return f"for {self.of[1:]} of 100 calls{self._duty}"

    @property
    def statistic(self) -> str:
        """What is measured, for people: `median of calls in a row`."""
        match self.of:
            case "worst_case":
                return "median of calls in a row"
            case "expected":
                return "mean over images"
            case "p95" | "p99":
                return f"{self.of[1:]} % of single calls{self._duty}"

    @property
    def stream_statistic(self) -> str:
        """What is measured where samples leave early, for people; empty where that changes nothing."""
        match self.of:
            case "worst_case" | "expected":
                return ""
            case "p95" | "p99":
                return f"{self.of[1:]}th percentile of single calls over a stream of images{self._duty}"

    @property
    def _duty(self) -> str:
        return "" if self.every_s is None else f", one every {format_seconds(self.every_s)}"

    def describe(self) -> str:
        """One phrase for people: `at most 8.00 ms in the worst case`."""
        return f"at most {format_seconds(self.latency_s)} {self.how}"

    @property
    def needs_thresholds(self) -> bool:
        """Whether it is a mean, for which thresholds trade accuracy against seconds.

        A percentile has thresholds where its network has exits, and they trade nothing (`streamed`).
        """
        match self.of:
            case "worst_case" | "p95" | "p99":
                return False
            case "expected":
                return True

    def streamed(self, batch: int) -> bool:
        """Whether samples may leave early where it is kept, and what it bounds is measured over a stream of them.

        They leave one by one: a call of several samples passes every exit. Where this is false, the calls to the last
        exit decide, and earlier exits only cost time.
        """
        match self.of:
            case "worst_case":
                return False
            case "expected":
                return True
            case "p95" | "p99":
                return batch == 1

    @property
    def percentile(self) -> float | None:
        """The share of single calls that must keep it, None where it is not about single calls."""
        match self.of:
            case "worst_case" | "expected":
                return None
            case "p95":
                return 0.95
            case "p99":
                return 0.99

    def deciding_exit(self, exit_rates: ArrayLike) -> Ints:
        """The first exit [...] by which as large a share of all samples has left as counts, of shares [..., K].

        Of a percentile that is the exit which decides: with 3 % at the last one it decides the 99th, and not the 95th.
        """
        import numpy as np

        share = 1.0 if self.percentile is None else self.percentile
        return np.asarray((np.cumsum(exit_rates, axis=-1) >= share - _ROUNDING).argmax(axis=-1), np.int64)

    def seconds(self, cumulative_s: ArrayLike, exit_rates: ArrayLike, tail: Tail) -> Floats:
        """The seconds that it bounds [...], of seconds to each exit of networks and the shares that leave [..., K].

        The seconds to exits are those of calls in a row; `tail` says how far above them its statistic lies.
        """
        import numpy as np

        cumulative = np.asarray(cumulative_s, np.float64)
        match self.of:
            case "worst_case":
                return cumulative[..., -1] * tail.ratio
            case "p95" | "p99":
                place = self.deciding_exit(exit_rates)[..., None]
                return np.asarray(np.take_along_axis(cumulative, place, axis=-1)[..., 0] * tail.ratio)
            case "expected":
                return np.asarray(np.vecdot(exit_rates, cumulative))

    def lower_bound(self, cumulative_s: ArrayLike, tail: Tail, early: bool = True) -> Floats:
        """The least that thresholds can bring it to [...], of seconds to each exit of networks [..., K], NaN if off.

        `early`: whether a percentile's samples may leave early (`streamed`); those of a mean always may.
        """
        import numpy as np

        cumulative = np.asarray(cumulative_s, np.float64)
        match self.of:
            case "worst_case":
                return cumulative[..., -1] * tail.ratio
            case "p95" | "p99":
                return np.asarray(np.nanmin(cumulative, axis=-1) if early else cumulative[..., -1]) * tail.ratio
            case "expected":  # all leave at the first exit
                return np.asarray(np.nanmin(cumulative, axis=-1))

    def believed(self, prediction: Prediction, exit_rates: ArrayLike, tail: Tail) -> LogStudent:
        """What a prediction says of the seconds that it bounds, for n networks and the shares that leave [n, K]."""
        import numpy as np

        from latency_models.base import LogStudent

        worst = prediction.believed()
        match self.of:
            case "worst_case":
                return tail.of(worst)
            case "p95" | "p99":
                place = self.deciding_exit(exit_rates)
                each, last = np.arange(len(place)), place >= prediction.exits - 1
                mean_s = np.where(last, worst.mean_s, prediction.cumulative_s()[each, place])
                std_s = np.where(last, worst.std_s, prediction.cumulative_std_s()[each, place])
                return tail.of(LogStudent(mean_s, std_s, prediction.degrees_of_freedom))
            case "expected":
                return prediction.believed(np.asarray(exit_rates, np.float64))
