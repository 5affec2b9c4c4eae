"""Kernels of many columns are compiled in seconds, and compute what ONNX Runtime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nas.deploy.tvm import available
from tests.nas.deploy.schedules.test_kernels import TARGETS, Graph, check, kernels

pytestmark = pytest.mark.skipif(not available()[0], reason=available()[1])


@pytest.mark.parametrize(
    ("size", "channels", "filters", "kernel", "attributes"),
    [
        ((1, 900), 1, 40, (1, 512), {"strides": [1, 32]}),
        ((3, 70), 5, 17, (3, 17), {"pads": [1, 3, 1, 2]}),
        ((20, 20), 6, 6, (17, 19), {"pads": [8, 9, 8, 9], "group": 6}),
        ((3, 400), 3, 17, (1, 151), {"pads": [0, 75, 0, 75]}),
    ],
    ids=["no border", "some border", "depthwise", "left to TVM"],
)
def test_wide_kernels_are_not_written_out_column_by_column(
    size: tuple[int, int], channels: int, filters: int, kernel: tuple[int, int], attributes: dict[str, Any]
) -> None:
    """A kernel over a spectrum, of hundreds of columns, would be compiled for minutes."""
    g = Graph(np.random.default_rng(9))
    g.outputs.append(g.node("Relu", g.conv(g.input(1, channels, *size), filters, channels, kernel, **attributes)))
    assert len(kernels(g.model(), TARGETS["here"]).script(show_meta=False)) < 1_500_000
    check(g.model(), TARGETS["here"], g.inputs)
