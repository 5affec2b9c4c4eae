"""What the tests of the budget loop believe of candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from nas.search.budget_loop import Floats


@dataclass(frozen=True, eq=False)
class Normal:
    """A belief: independent normal distributions of the logarithm of seconds."""

    mean_s: Floats
    std: Floats

    def probability_within(self, limit_s: float) -> Floats:
        return np.asarray(ndtr((np.log(limit_s) - np.log(self.mean_s)) / self.std))
