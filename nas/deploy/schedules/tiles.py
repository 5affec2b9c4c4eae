"""How many results does a kernel hold in registers at once? The tile with the least work for a given size."""

from __future__ import annotations

from dataclasses import dataclass

from nas.deploy.schedules.processor import Processor

#: Cycles of a fused multiply-add until its result can be added to; two start in each.
_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class Tile:
    """`pixels` neighbours times `vectors` of output channels, all of them accumulators in registers."""

    pixels: int
    vectors: int


def tile_of(pixels: int, outputs: int, processor: Processor, widest: int = 16) -> Tile:
    """The tile for a row of `pixels` with so many output channels.

    Counted per step over the inputs: multiply-adds, of which two start in a cycle, and loads, likewise. Tiles that are
    too small to keep multiply-adds in flight wait for their own results.
    """
    vectors = -(-outputs // processor.lanes)

    def cost(tile: Tile) -> tuple[float, int]:
        tiles = -(-pixels // tile.pixels) * -(-vectors // tile.vectors)
        work = max(tile.pixels * tile.vectors, _IN_FLIGHT)
        return tiles * (work + 0.3 * (tile.pixels + tile.vectors)), -tile.pixels

    fitting = [
        Tile(high, wide)
        for wide in range(1, min(vectors, widest) + 1)
        for high in range(1, min(pixels, processor.registers) + 1)
        if high * wide + wide + 1 <= processor.registers
    ]
    return min(fitting, key=cost)
