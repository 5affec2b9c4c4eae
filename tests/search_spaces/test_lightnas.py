"""The LightNAS space is the published one; what every space promises is in test_contract."""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces.lightnas import OPERATORS, PLAN, Row, lightnas
from search_spaces.slots import SpaceError, sizes

SPACE = lightnas((3, 224, 224), 1000)


def test_it_has_the_published_layers_and_operators() -> None:
    """21 layers of 7 operators, 7^21 = 5.6e17 networks (arXiv 2208.14446)."""
    assert sizes(SPACE).tolist() == [7] * 21
    assert float(7**21) == pytest.approx(5.6e17, rel=0.01)
    layers = [slot for slot in SPACE.slots if slot.role == "body" and slot.genes]
    outputs = [slot.network((OPERATORS.index("k3e3"),)) for slot in layers]
    shapes = [network.ops[network.exits[0]].shape for network in outputs if network is not None]
    channels = [24] * 2 + [48] * 3 + [72] * 4 + [128] * 3 + [160] * 4 + [176] * 4 + [384]
    resolutions = [56] * 2 + [28] * 3 + [14] * 7 + [7] * 9
    assert shapes == [(c, r, r) for c, r in zip(channels, resolutions, strict=True)]


def hand_counted(kernel: int, expansion: int) -> tuple[int, int]:
    """Multiply-adds and parameters of the network with one operator everywhere, batch norms included."""
    macs = params = 0

    def conv(size: int, inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> None:
        nonlocal macs, params
        weights = outputs * (inputs // groups) * kernel**2
        macs += size**2 * weights
        params += weights + 2 * outputs

    conv(112, 3, 16, 3)
    conv(112, 16, 16, 3, groups=16)
    conv(112, 16, 16)
    size, width = 112, 16
    plan = [(24, 2, 2), (48, 3, 2), (72, 4, 2), (128, 3, 1), (160, 4, 2), (176, 4, 1), (384, 1, 1)]
    for channels, layers, first in plan:
        for layer in range(layers):
            hidden, stride = width * expansion, first if layer == 0 else 1
            conv(size, width, hidden)
            size //= stride
            conv(size, hidden, hidden, kernel, groups=hidden)
            conv(size, hidden, channels)
            width = channels
    conv(7, 384, 1984)
    macs += 1984 * 1280 + 1280 * 1000
    params += 1984 * 1280 + 1280 * 1000 + 1000
    return macs, params


@pytest.mark.parametrize(("operator", "kernel", "expansion"), [("k3e3", 3, 3), ("k5e6", 5, 6), ("k7e6", 7, 6)])
def test_counts_are_those_of_the_plan(operator: str, kernel: int, expansion: int) -> None:
    network = SPACE.decode([OPERATORS.index(operator)] * 21)
    assert (network.macs, network.params) == hand_counted(kernel, expansion)


def test_a_skip_is_an_identity_where_shapes_allow_and_a_projection_elsewhere() -> None:
    network = SPACE.decode([OPERATORS.index("skip")] * 21)
    kinds = {
        op.name.rpartition(".skip.")[0]: op.kind for op in network.ops if op.name.endswith((".identity", ".project"))
    }
    kinds = {name: kind for name, kind in kinds.items() if name.startswith("stage")}
    changes = [f"stage{stage}.block0" for stage in range(7)]
    assert [name for name, kind in kinds.items() if kind == "conv"] == changes
    assert len(kinds) == 21 and set(kinds.values()) == {"conv", "reshape"}


def test_exits_come_on_request_after_every_layer_but_the_last() -> None:
    assert not any(slot.role == "exit" for slot in SPACE.slots)
    with_exits = lightnas((3, 32, 32), 10, max_exits=2)
    assert sum(slot.role == "exit" for slot in with_exits.slots) == 20


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 64, 16), (224, 224)])
def test_images_that_are_too_small_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpaceError, match=r"at least 32, got \("):
        lightnas(shape, 10)


def test_a_plan_of_ones_own_for_small_images() -> None:
    space = lightnas((3, 16, 16), 10, plan=(Row(8, 2, 2), Row(16, 1, 2)), head=(32, 24))
    assert len(space.genes) == 3 and space.name == "lightnas-8x2s-16x1s-head32x24"
    network = space.decode([0, 6, 2])
    shapes = {op.name: op.shape for op in network.ops}
    assert shapes["stage1.block0.k5e3.project.bn"] == (16, 2, 2) and shapes["final.hidden"] == (24,)
    assert lightnas((3, 32, 32), 10, plan=PLAN).name == "lightnas"


@pytest.mark.parametrize("row", [(8, 2, 3), (8, True, 1), (8, 0, 1), (8.0, 1, 1), (-8, 1, 1)])
def test_rows_that_cannot_be(row: Any) -> None:
    with pytest.raises(SpaceError, match="stride 1 or 2, got Row"):
        Row(*row)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"plan": ()}, "at least one row"),
        ({"plan": (Row(2**21, 1),)}, "at most"),
        ({"head": (8,)}, r"head of two numbers of channels, got \[8\]"),
        ({"head": (8, 2**21)}, "head of two"),
    ],
)
def test_plans_and_heads_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        lightnas((3, 32, 32), 10, **settings)
