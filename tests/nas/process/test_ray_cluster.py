"""Addresses of Ray clusters; what needs Ray itself is tried with sweeps."""

from __future__ import annotations

import pytest

from nas.errors import InputError
from nas.process import ray_cluster


@pytest.mark.parametrize("address", ["..:6379", "x..y:80", f"{'a' * 70}:80"])
def test_what_names_no_machine_is_not_there(address: str) -> None:
    with pytest.raises(InputError, match=r"is not there .*start it, give the address of one that runs"):
        ray_cluster._require_listening(address)
