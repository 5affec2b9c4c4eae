"""What the combinations of a slot have in common, and what cannot share weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas.supernet.union import plan
from search_spaces.ir import Builder
from search_spaces.mobile import conv_bn
from search_spaces.op import Ref
from search_spaces.slots import SearchSpace, Slot, SpaceError, exit_positions
from search_spaces.toy import OPERATORS, toy

Build = Callable[[Builder, Ref, int], Ref | None]


def slot(build: Build, count: int = 2, operator_choice: bool = False, shape: tuple[int, ...] = (4, 6, 6)) -> Slot:
    """A slot of one gene that `build` reads."""
    return Slot(
        "s", "body", (0,), (count,), ("image",), lambda b, refs, values: build(b, refs[0], values[0]),
        lambda values: (shape,), (0,) if operator_choice else (),
    )  # fmt: skip


def test_tables_of_a_block(tiny: SearchSpace) -> None:
    """stage0.block0 reads width (6, 8), kernel (3, 5), expansion (1, 2), se: 8 channels come in."""
    here = plan(next(s for s in tiny.slots if s.name == "stage0.block0"))
    (union,) = here.unions
    members = {member.op.name.removeprefix("stage0.block0."): member for member in union.members}
    combinations = list(here.slot.combinations())
    assert not here.optional and set(here.entry) == {0}
    depthwise = members["depthwise"]
    assert depthwise.op.shape == (16, 8, 8) and depthwise.op.attr("groups") == 16 and depthwise.kernels == (3, 5)
    for i, (width, kernel, expansion, se) in enumerate(combinations):
        assert depthwise.kernel[i] == kernel and depthwise.active[i] == 8 * (1 + expansion)
        assert members["project"].active[i] == (6, 8)[width]
        assert members["se.scale"].present[i] == bool(se)
        assert members["residual"].present[i] == (width == 1)
    assert union.members[union.output] is members["residual"]
    assert members["se.scale"].op.inputs[0][0] == list(members).index("depthwise.relu")


def test_an_optional_slot_is_absent_where_depth_says_so(tiny: SearchSpace) -> None:
    here = plan(next(s for s in tiny.slots if s.name == "stage1.block1"))
    absent = np.array([here.slot.network(values) is None for values in here.slot.combinations()])
    assert here.optional and np.array_equal(here.entry == len(here.unions), absent) and absent.any()


def test_an_exit_that_is_off_stands_for_the_one_that_is_on(tiny: SearchSpace) -> None:
    slot = tiny.slots[exit_positions(tiny)[0]]
    site = tiny.exit_sites[0]
    here = plan(slot, site)
    for i, values in enumerate(slot.combinations()):
        on = list(slot.combinations())[here.on[i]]
        assert slot.network(on) is not None
        assert [v for gene, v in zip(slot.genes, on, strict=True) if gene != site.gene] == [
            v for gene, v in zip(slot.genes, values, strict=True) if gene != site.gene
        ]


def test_an_operator_choice_has_a_union_per_operator() -> None:
    space = toy((1, 8, 8), 3)
    here = plan(next(s for s in space.slots if s.name == "stage1.block0"))
    assert len(here.unions) == len(OPERATORS)
    assert all(not member.kernels and member.elastic is None for union in here.unions for member in union.members)


def strided(b: Builder, x: Ref, value: int) -> Ref:
    return b("conv", "s.conv", x, filters=4, kernel=3, stride=1 + value)


def renamed(b: Builder, x: Ref, value: int) -> Ref:
    return b(("relu", "gelu")[value], "s.activation", x)


def rewired(b: Builder, x: Ref, value: int) -> Ref:
    """Not an addition or multiplication: nothing says what its absence means."""
    return b("relu", "s.second", b("relu", "s.first", x) if value else x)


def shifted(b: Builder, x: Ref, value: int) -> Ref:
    """A kernel of 4 has no centre of 3."""
    return b("conv", "s.conv", x, filters=4, kernel=3 + value, padding=1)


def concatenated(b: Builder, x: Ref, value: int) -> Ref:
    """The active channels of the first part would not be next to those of the second."""
    return b("concat", "s.concat", b("conv", "s.conv", x, filters=2 + value, kernel=3), x)


def flattened(b: Builder, x: Ref, value: int) -> Ref:
    y = b("dense", "s.dense", x, units=3 + value)
    return b("reshape", "s.flat", y, shape=(24 * (3 + value),))


@pytest.mark.parametrize("build", [strided, renamed, rewired, shifted, concatenated, flattened])
def test_combinations_that_cannot_share_weights_are_refused(build: Any) -> None:
    with pytest.raises(SpaceError, match=r"slot 's'.*operator choice"):
        plan(slot(build))
    assert len(plan(slot(build, operator_choice=True)).unions) == 2


def test_a_slot_that_is_never_there_is_refused() -> None:
    with pytest.raises(SpaceError, match="absent in all"):
        plan(slot(lambda b, x, value: None))


def test_an_addition_that_is_absent_passes_its_first_operand() -> None:
    def build(b: Builder, x: Ref, value: int) -> Ref:
        y = conv_bn(b, "s.conv", x, 4, 3)
        return b("add", "s.sum", y, x) if value else y

    (union,) = plan(slot(build)).unions
    output = union.members[union.output]
    assert output.op.name == "s.sum" and output.present.tolist() == [False, True]
