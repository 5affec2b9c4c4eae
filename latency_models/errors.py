"""The mistake a user can make with a latency model; apart from the models so that naming it costs no import."""

from __future__ import annotations

from hardware_profiles import Target


class UnpricedOperator(ValueError):
    """A network has an operator that the model cannot price; it names the operator, the model and the target."""

    def __init__(
        self,
        operator: str,
        kind: str,
        model: str,
        target: Target,
        remedy: str = "give the kind an op class in search_spaces.passes, or leave it out of the space",
    ) -> None:
        super().__init__(
            f"operator {operator!r} is of kind {kind!r}, which latency model {model!r} cannot price on {target.key}; "
            f"{remedy}"
        )
        self.operator, self.kind, self.model, self.target = operator, kind, model, target
