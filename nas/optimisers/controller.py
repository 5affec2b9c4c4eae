"""The multiplier of latency: raised while the network that would be derived now is too slow, lowered while it is too
fast.

LightNAS (arXiv 2208.14446) adds lambda * (latency / target - 1) to the loss and lets lambda climb by the violation with
a fixed rate. That rate has the unit of the loss, so its constants fit one scale of the loss only. Here effects on the
loss are counted in units of their usual spread between options, and effects on latency likewise; the multiplier is a
plain number of order 1, in `units` it is a multiple of loss per second, and one gain serves every loss and target.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Controller:
    """Integrates the violation. `multiplier` is never negative: where the limit doesn't bind, latency is free.

    `gain` is the change of the multiplier per step for a network whose every gene is slower than allowed by one spread.
    """

    gain: float
    multiplier: float = 0.0

    def update(self, seconds: float, limit_s: float, spread_s: float, genes: int, share: float = 1.0) -> None:
        """Move by the violation of the network that the multipliers in force select; `share` of the gain counts."""
        self.multiplier = max(self.multiplier + share * self.gain * (seconds - limit_s) / (spread_s * genes), 0.0)

    def units(self, spread_loss: float, spread_s: float) -> float:
        """The multiplier as loss per second."""
        return self.multiplier * spread_loss / spread_s
