"""Every exit policy of ours keeps the laws; what breaks one is told."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from nas.exits import POLICIES
from nas.exits.policies import MaxProbability
from nas.testing import BrokenLaw, Law, laws_of


@pytest.mark.parametrize("law", laws_of("exit policy"), ids=str)
@pytest.mark.parametrize("reference", POLICIES.values())
def test_ours(reference: str, law: Law[Any]) -> None:
    module, name = reference.split(":")
    law(getattr(importlib.import_module(module), name)())


class Single(MaxProbability):
    """Scores in single precision on the device, by rows that know each other, and remembers."""

    def __init__(self) -> None:
        self.last = 0.0

    def scores(self, outputs: Any) -> Any:
        found = super().scores(outputs)
        return found - found.mean() + found[:, -1:]

    def step(self, state: Any, outputs: Any) -> Any:
        _, found = super().step(state, {"logits": outputs["logits"] * np.float32(1.001)})
        self.last += found
        return state, self.last


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("steps_score_as_the_whole", "offline a sample scores"),
        ("samples_are_scored_alone", "beside others it scores otherwise"),
        ("exits_are_scored_alone_without_a_history", "an exit scores otherwise where it is the only one"),
        ("a_sample_leaves_no_trace", "a sample scores otherwise after another one"),
        ("its_file_runs_on_a_board", "imports pytest"),
    ],
)
def test_a_careless_one_breaks_laws(law: str, said: str) -> None:
    (found,) = [each for each in laws_of("exit policy") if each.name == law]
    with pytest.raises(BrokenLaw, match=said):
        found(Single())
