"""Early exits: when a sample leaves (policies), where exits stand, and thresholds solved for a budget."""

from __future__ import annotations

from typing import Final

#: Exit policies by name.
POLICIES: Final[dict[str, str]] = {"max_probability": "nas.exits.policies:MaxProbability"}
