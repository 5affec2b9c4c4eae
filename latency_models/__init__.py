"""Latency models: seconds with an error bar for a network on a target, from a profile and a few measurements."""

from latency_models.errors import UnpricedOperator

__all__ = ["LATENCY_MODELS", "UnpricedOperator"]

#: Latency models by name; each is built from (profile, target). A YAML may also name its own `module:Class`.
LATENCY_MODELS = {
    "roofline": "latency_models.roofline:Roofline",
    "flops": "latency_models.flops:Flops",
    "lookup": "latency_models.lookup:LookUp",
    "table": "latency_models.tabular:Tabular",
}
