"""A budget, and every answer that hangs on what it is about: nobody else asks of which kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from hardware_profiles import Target
from nas.config.kinds import Default
from nas.config.units import Seconds, format_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from latency_models.base import LogStudent, Prediction

    Floats = NDArray[np.float64]

BudgetOf = Literal["worst_case", "expected"]


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
