"""The baseline every other model has to beat: seconds proportional to multiply-adds, plus a constant per call."""

from __future__ import annotations

from latency_models.features import FEATURES
from latency_models.roofline import LinearModel


class Flops(LinearModel):
    """seconds = a * MACs + b * calls; deciding at an exit is part of the call."""

    features = FEATURES["flops"]
