"""Few-shot latency: source devices' tables give a prior, a new device's few readings a posterior, in closed form.

The setting is HELP's (Lee et al., NeurIPS 2021): tables of several devices are at hand, and about ten networks are
measured on a new one. `learn` takes the tables, `DevicePrior.candidates` describes the networks in question once, and
`DevicePrior.adapt` turns readings of some of them into a distribution of seconds for each.
"""

from latency_models.few_shot.posterior import LatencyPosterior
from latency_models.few_shot.prior import DevicePrior, learn
from latency_models.few_shot.sources import Candidates
from latency_models.few_shot.storage import load, save

__all__ = ["Candidates", "DevicePrior", "LatencyPosterior", "learn", "load", "save"]
