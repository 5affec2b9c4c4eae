"""Networks are channels last throughout: transpositions are at their ends, or not at all."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from nas.deploy.onnx import export_segments, to_onnx
from nas.deploy.schedules.constants import folded
from nas.deploy.schedules.layout import channels_last
from nas.deploy.tvm import available
from search_spaces.ir import Builder, Network
from tests.nas.deploy.small_networks import random_weights, three_exits

pytestmark = pytest.mark.skipif(not available()[0], reason=available()[1])


def in_cells() -> Network:
    """Pools, sums, and reshapes that change nothing, as of an operator choice that is the identity."""
    b = Builder()
    x = b("conv", "stem", b.input("image", (3, 8, 8)), filters=6, kernel=3)
    y = b("avg_pool", "pool", x, kernel=3, stride=1, padding=1)
    y = b("add", "sum", y, b("reshape", "same", x, shape=b.shape(x)))
    y = b("max_pool", "smaller", b("concat", "both", x, y), kernel=2, stride=2)
    flat = b("reshape", "flat", b("global_pool", "means", y), shape=(12,))
    return b.network(b("dense", "last", flat, units=4))


def transpositions(data: bytes) -> int:
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    model = onnx.load_from_string(data)
    module = from_onnx(model, keep_params_in_input=False, sanitize_input_names=False)
    module = relax.transform.CanonicalizeBindings()(relax.transform.DecomposeOpsForInference()(module))
    module = channels_last(folded(module))
    return str(module.script(show_meta=False)).count("permute_dims(")


@pytest.mark.parametrize("network", [three_exits(), in_cells()], ids=["exits", "cells"])
def test_a_whole_network_has_none(network: Network) -> None:
    assert transpositions(to_onnx(network, random_weights(network))) == 0


def test_segments_have_one_for_each_tensor_that_they_hand_on_or_read_element_by_element(tmp_path: Path) -> None:
    network = three_exits()
    segments = export_segments(network, random_weights(network), tmp_path)
    found = [transpositions((tmp_path / segment.file).read_bytes()) for segment in segments]
    assert len(segments[0].gives) == 2
    assert all(count <= len(each.gives) + len(each.takes) for count, each in zip(found, segments, strict=True))
