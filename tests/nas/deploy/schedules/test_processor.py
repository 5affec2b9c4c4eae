"""Lanes and registers follow from the target, not from this machine; tiles fit into them."""

from __future__ import annotations

from typing import Any

import pytest

from nas.deploy.schedules.processor import Processor, processor_of
from nas.deploy.schedules.tiles import tile_of
from nas.deploy.tvm import available

pytestmark = pytest.mark.skipif(not available()[0], reason=available()[1])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"mtriple": "x86_64-linux-gnu", "mcpu": "x86-64"}, (4, 16)),
        ({"mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v3"}, (8, 16)),
        ({"mtriple": "x86_64-linux-gnu", "mcpu": "znver3", "num-cores": 4}, (8, 16)),
        ({"mtriple": "x86_64-linux-gnu", "mcpu": "skylake-avx512"}, (16, 32)),
        ({"mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v4"}, (16, 32)),
        ({"mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72"}, (4, 32)),
        ({"mtriple": "arm64-apple-macos"}, (4, 32)),
        ({"mtriple": "armv7l-linux-gnueabihf"}, (4, 16)),
    ],
)
def test_vectors_follow_from_the_instruction_set(target: dict[str, Any], expected: tuple[int, int]) -> None:
    import tvm

    found = processor_of(tvm.target.Target({"kind": "llvm", **target}))
    assert (found.lanes, found.registers) == expected
    assert found.threads == target.get("num-cores", 1)


@pytest.mark.parametrize("registers", [8, 16, 32])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_tiles_fit_into_registers_and_into_the_work(lanes: int, registers: int) -> None:
    processor = Processor(lanes, registers)
    for pixels in (1, 2, 7, 13, 49, 196, 12544):
        for outputs in (1, 3, 10, 17, 40, 320, 1000):
            tile = tile_of(pixels, outputs, processor)
            assert tile.pixels * tile.vectors + tile.vectors + 1 <= registers or tile.pixels == 1
            assert 1 <= tile.pixels <= pixels
            assert 1 <= tile.vectors <= -(-outputs // lanes)


def test_a_large_tile_is_chosen_where_there_is_work_for_it() -> None:
    tile = tile_of(196, 576, Processor(16, 32))
    assert tile.pixels * tile.vectors >= 24
    # One pixel: only channels are left to keep sums in flight.
    assert tile_of(1, 1000, Processor(16, 32)).vectors >= 8
