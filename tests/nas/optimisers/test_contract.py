"""The laws of optimisers, for every entry of the registry."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from nas.optimisers import OPTIMISERS
from nas.testing import Law, laws_of

#: `loss_regression` differs from `differentiable` in where effects come from alone.
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "loss_regression" else []) for name in sorted(OPTIMISERS)
]


@pytest.mark.parametrize("law", laws_of("optimiser"), ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_it_keeps(name: str, law: Law[Any]) -> None:
    module, attribute = OPTIMISERS[name].split(":")
    law(getattr(import_module(module), attribute)())
