from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def hurried() -> None:
    """Here waiting and looking are the subject."""
