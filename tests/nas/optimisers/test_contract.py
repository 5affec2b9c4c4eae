"""The laws of optimisers, for every entry of the registry."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from nas.optimisers import OPTIMISERS
from nas.testing import Law, laws_of


@pytest.mark.parametrize("law", laws_of("optimiser"), ids=str)
@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_it_keeps(name: str, law: Law[Any]) -> None:
    module, attribute = OPTIMISERS[name].split(":")
    law(getattr(import_module(module), attribute)())
