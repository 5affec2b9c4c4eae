"""How are convolutions and dense layers computed? A tile of pixels times channels at a time, held in registers.

One skeleton: for rows of output pixels, for blocks of output channels, for tiles of a row: sums in registers, over the
kernel's rows that lie in the image, its columns, and (unless depthwise) the inputs; then whatever follows each result,
and one store. There is no copy with zeros around it: what lies outside is left out, of rows by the range of a loop, of
columns where the statement is written. A pointwise convolution and a dense layer are one long row.

The last tile of a row overlaps its neighbour rather than being smaller: it computes the same values again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from nas.deploy.schedules.fused import Block, loaded
from nas.deploy.schedules.loops import number, pieces, sequence, serial, unravel, vector
from nas.deploy.schedules.operators import WRITTEN_OUT, Anchor, Geometry, tile
from nas.deploy.schedules.processor import Processor

#: Bytes of weights up to which they are read again for every tile of pixels, and not the other way round.
_NEAR = 1 << 18
#: Columns of a kernel up to which each is written out, for tiles of pixels that lie inside the image.
_WRITTEN_COLUMNS = 16
#: Vectors of products that are written out at most: LLVM takes seconds for this many, minutes for ten times as many.
_MOST_WRITTEN = 8000
#: Multiply-adds that are worth waking other threads for.
_WORTH_THREADS = 1 << 18


@dataclass(frozen=True)
class Kernel:
    """A convolution with what it reads, what becomes of its results, and how it is cut up."""

    anchor: Anchor
    block: Block
    results: Block
    data: Any
    weight: Any
    processor: Processor
    pixels: int

    @property
    def geometry(self) -> Geometry:
        """The convolution's."""
        return self.anchor.geometry

    @property
    def rows(self) -> int:
        """Rows of output pixels."""
        return 1 if self.geometry.pointwise else self.geometry.output[0] * self.geometry.output[1]


@dataclass(frozen=True)
class Tile:
    """Accumulators: for each pixel of a row from `start` on, vectors (first channel in the block, lanes) of sums."""

    kernel: Kernel
    row: Any
    start: Any
    block: Any
    vectors: Sequence[tuple[int, int]]
    sums: Sequence[Any]


def convolution(block: Block, results: Block, processor: Processor) -> Any:
    """A statement for a marked block and what becomes of its results.

    None if it reads what is computed on the way, or would be too long to compile.
    """
    assert block.anchor is not None
    geometry = block.anchor.geometry
    operands = [buffer for buffer in loaded(block.value) if not buffer.same_as(block.target)]
    if len(operands) != 2:
        return None
    data, weight = operands
    kernel = Kernel(block.anchor, block, results, data, weight, processor, tile(geometry, processor).pixels)
    return _loops(kernel) if _written(kernel) <= _MOST_WRITTEN else None


def _written(kernel: Kernel) -> int:
    """How many vectors of products the statement would spell out."""
    geometry, lanes = kernel.geometry, kernel.processor.lanes
    starts = _starts(geometry, kernel.pixels)
    outside = sum(_reaches_out(geometry, start, kernel.pixels) for start in starts)
    columns = geometry.kernel[1]
    written = outside * columns + (outside < len(starts)) * (columns if columns <= _WRITTEN_COLUMNS else 1)
    inputs = 1 if geometry.depthwise else geometry.image[3]
    blocks = [kernel.anchor.block, geometry.output[3] % kernel.anchor.block]
    vectors = sum(-(-min(block, geometry.output[3]) // lanes) for block in blocks)
    return written * kernel.pixels * vectors * (inputs if inputs <= WRITTEN_OUT else 1)


def _loops(kernel: Kernel) -> Any:
    """Rows, blocks of channels and tiles; of the last two the one outside whose operand is the larger."""
    geometry, width = kernel.geometry, kernel.anchor.block
    outputs = geometry.output[3]
    inputs = 1 if geometry.depthwise else geometry.image[3]
    work = math.prod(geometry.output) * inputs * math.prod(geometry.kernel)
    threads = kernel.processor.threads if work >= _WORTH_THREADS else 1

    def blocks(body: Callable[[Any, int], Any], threads: int = 1) -> Any:
        whole, rest = divmod(outputs, width)
        made = [serial(whole, lambda index: body(index, width), threads=threads)] if whole else []
        return sequence([*made, *([body(number(whole), rest)] if rest else [])])

    def cut(row: Any, start: Any, index: Any, channels: int) -> Any:
        return _tile(kernel, row, start, index, pieces(channels, kernel.processor.lanes))

    if kernel.rows > 1:
        return serial(
            kernel.rows,
            lambda row: blocks(lambda index, n: _along(kernel, lambda start: cut(row, start, index, n))),
            threads=threads,
        )
    row = number(0)
    if 4 * outputs * inputs * math.prod(geometry.kernel) > _NEAR:
        return blocks(lambda index, n: _along(kernel, lambda start: cut(row, start, index, n)), threads)
    return _along(kernel, lambda start: blocks(lambda index, n: cut(row, start, index, n)), threads)


def _along(kernel: Kernel, body: Callable[[Any], Any], threads: int = 1) -> Any:
    """Tiles along a row: those at its ends, whose kernels reach beyond the image, with a start known here."""
    geometry, pixels = kernel.geometry, kernel.pixels
    row, starts = geometry.row, _starts(kernel.geometry, pixels)
    inner = [start for start in starts if not _reaches_out(geometry, start, pixels)]
    if len(starts) == 1 or not inner:
        return sequence([body(start) for start in starts])
    first, last = starts.index(inner[0]), starts.index(inner[-1])

    def inside(index: Any) -> Any:
        from tvm import tirx

        start = index * pixels
        return body(tirx.min(start, number(row - pixels)) if starts[last] % pixels else start)

    loop = serial(last - first + 1, inside, first, threads)
    return sequence([*map(body, starts[:first]), loop, *map(body, starts[last + 1 :])])


def _starts(geometry: Geometry, pixels: int) -> list[int]:
    """Where tiles of a row begin."""
    return [min(start, geometry.row - pixels) for start in range(0, geometry.row, pixels)]


def _reaches_out(geometry: Geometry, start: int, pixels: int) -> bool:
    reached = [_column(geometry, start + pixel, kx) for pixel in range(pixels) for kx in range(geometry.kernel[1])]
    return not geometry.pointwise and not all(0 <= column < geometry.image[2] for column in reached)


def _column(geometry: Geometry, x: Any, kx: Any) -> Any:
    return x * geometry.stride[1] + (kx * geometry.dilation[1] - geometry.pad[1])


def _tile(kernel: Kernel, row: Any, start: Any, block: Any, vectors: Sequence[tuple[int, int]]) -> Any:
    from tvm import tirx

    # A buffer per pixel: larger ones than 1 KiB would not be on the stack, nor in registers.
    width = sum(lanes for _, lanes in vectors)
    sums = [tirx.decl_buffer((width,), "float32", scope="local") for _ in range(kernel.pixels)]
    tile = Tile(kernel, row, start, block, vectors, sums)
    begin = [vector(lanes, partial(_zero, buffer, first)) for buffer in sums for first, lanes in vectors]
    end = [_finish(tile, pixel, first, lanes) for pixel in range(kernel.pixels) for first, lanes in vectors]
    return sequence([*map(tirx.AllocBuffer, sums), *begin, _sum(tile), *end])


def _zero(buffer: Any, first: int, lane: Any) -> Any:
    from tvm import tirx

    return _set(buffer, first + lane, tirx.const(0.0, "float32"))


def _set(buffer: Any, index: Any, value: Any) -> Any:
    from tvm import tirx

    return tirx.BufferStore(buffer, value, [index])


def _sum(tile: Tile) -> Any:
    """The loops inside a tile: the kernel's rows within the image, its columns, and the inputs."""
    kernel, geometry = tile.kernel, tile.kernel.geometry
    if geometry.pointwise:
        place = [unravel(tile.start + pixel, kernel.results.shape[:-1]) for pixel in range(kernel.pixels)]
        return _step(tile, number(0), 0, list(enumerate(place)))
    image, y = tile.row // geometry.output[1], tile.row % geometry.output[1]
    top = y * geometry.stride[0] - geometry.pad[0]
    first, size = _rows_inside(geometry, top)
    inside = not isinstance(tile.start, int) or not _reaches_out(geometry, tile.start, kernel.pixels)

    def kernel_row(ky: Any) -> Any:
        height = top + ky * geometry.dilation[0]

        def everywhere(kx: Any) -> Any:
            columns = [_column(geometry, tile.start + pixel, kx) for pixel in range(kernel.pixels)]
            return _step(tile, ky, kx, [(pixel, [image, height, column]) for pixel, column in enumerate(columns)])

        if inside and geometry.kernel[1] > _WRITTEN_COLUMNS:
            return serial(geometry.kernel[1], everywhere)
        steps = []
        for kx in range(geometry.kernel[1]):
            columns = [_column(geometry, tile.start + pixel, kx) for pixel in range(kernel.pixels)]
            reached = [
                (pixel, [image, height, column])
                for pixel, column in enumerate(columns)
                if not isinstance(column, int) or 0 <= column < geometry.image[2]
            ]
            if reached:
                steps.append(_step(tile, ky, kx, reached))
        return sequence(steps) if steps else _nothing()

    return serial(size, kernel_row, first)


def _nothing() -> Any:
    from tvm import tirx

    return tirx.Evaluate(tirx.const(0, "int32"))


def _rows_inside(geometry: Geometry, top: Any) -> tuple[Any, Any]:
    """The kernel's first row that lies in the image, and how many do, for a kernel whose first row is at `top`."""
    from tvm import tirx

    size, step, height = geometry.kernel[0], geometry.dilation[0], geometry.image[1]
    lowest = (geometry.output[1] - 1) * geometry.stride[0] - geometry.pad[0] + (size - 1) * step
    if geometry.pad[0] == 0 and lowest < height:
        return 0, size
    first = tirx.max((step - 1 - top) // step, number(0))
    after = tirx.min((height - top + step - 1) // step, number(size))
    return first, tirx.max(after - first, number(0))


def _step(tile: Tile, ky: Any, kx: Any, reached: Sequence[tuple[int, Sequence[Any]]]) -> Any:
    """Add the products of one place of the kernel to the sums of the pixels that it reaches."""

    def products(i: Any) -> Any:
        return sequence(
            [
                vector(lanes, partial(_product, tile, (ky, kx, i), pixel, place, first))
                for pixel, place in reached
                for first, lanes in tile.vectors
            ]
        )

    geometry = tile.kernel.geometry
    inputs = 1 if geometry.depthwise else geometry.image[3]
    if inputs <= WRITTEN_OUT:
        return sequence([products(number(i)) for i in range(inputs)])
    return serial(inputs, products)


def _product(tile: Tile, tap: tuple[Any, Any, Any], pixel: int, place: Sequence[Any], first: int, lane: Any) -> Any:
    kernel, (ky, kx, i) = tile.kernel, tap
    if kernel.geometry.depthwise:
        channel = tile.block * kernel.anchor.block + first + lane
        product = _value(kernel, place, channel) * kernel.weight[ky, kx, channel]
    else:
        product = _value(kernel, place, i) * kernel.weight[tile.block, ky, kx, i, first + lane]
    sums = tile.sums[pixel]
    return _set(sums, first + lane, sums[first + lane] + product)


def _value(kernel: Kernel, place: Sequence[Any], channel: Any) -> Any:
    if kernel.anchor.first:
        return kernel.data[place[0], channel, place[1], place[2]]
    return kernel.data[(*place, channel)]


def _finish(tile: Tile, pixel: int, first: int, lanes: int) -> Any:
    """Store what becomes of a vector of sums."""
    from tvm import tirx

    kernel, geometry, results = tile.kernel, tile.kernel.geometry, tile.kernel.results
    x = tile.start + pixel
    if geometry.pointwise:
        lead = unravel(number(x) if isinstance(x, int) else x, results.shape[:-1])
    else:
        lead = [tile.row // geometry.output[1], tile.row % geometry.output[1], number(x) if isinstance(x, int) else x]

    def store(lane: Any) -> Any:
        place = [*lead, tile.block * kernel.anchor.block + first + lane]
        value = results.at(
            place,
            {},
            lambda load: tile.sums[pixel][first + lane] if load.source.same_as(kernel.block.target) else None,
        )
        return tirx.BufferStore(results.target, value, place)

    return vector(lanes, store)
