"""Segments: the parts of a network between its exits, each a network of its own, together the whole."""

from __future__ import annotations

import numpy as np
import pytest

from search_spaces.ir import Builder, Network
from search_spaces.mobile import mobile
from search_spaces.slots import random_genomes
from search_spaces.staged import StagedSpace
from search_spaces.toy import toy
from tests.search_spaces.small import answers, evaluate, random_weights, single_exit, three_exits


def check(network: Network) -> None:
    """All laws of segments for one network."""
    segments = network.segments()
    assert len(segments) == len(network.exits)
    held: dict[str, tuple[int, ...]] = {}
    seen: list[str] = []
    for number, (segment, end) in enumerate(zip(segments, network.exits, strict=True)):
        part = segment.network
        assert len(part.exits) == 1 and part.ops[part.exits[0]].name == network.ops[end].name
        assert segment.takes == tuple(op.name for op in part.inputs)
        for op in part.inputs:
            assert op.shape == network.op(op.name).shape
            # What enters is the image, or was given by an earlier segment.
            assert network.op(op.name).kind == "input" or held[op.name] == op.shape
        own = [op for op in part.ops if op.kind != "input"]
        for op in own:
            original = network.op(op.name)
            assert (op.kind, op.shape, op.attrs, op.dtype) == (
                original.kind,
                original.shape,
                original.attrs,
                original.dtype,
            )
            names = tuple(network.ops[source].name for source, _ in original.inputs)
            assert tuple(part.ops[source].name for source, _ in op.inputs) == names
        later = {name for other in segments[number + 1 :] for name in other.takes}
        assert set(segment.gives) == later & {op.name for op in own}
        held |= {name: part.op(name).shape for name in segment.gives}
        seen += [op.name for op in own]
        reached = network.cumulative(number)
        assert sum(s.network.macs for s in segments[: number + 1]) == reached.macs
        assert sum(s.network.flops for s in segments[: number + 1]) == reached.flops
        assert sum(s.network.params for s in segments[: number + 1]) == reached.params
        assert sum(s.network.weight_bytes for s in segments[: number + 1]) == reached.weight_bytes
    assert sorted(seen) == sorted(op.name for op in network.ops if op.kind != "input")


def test_small_networks() -> None:
    check(single_exit())
    check(three_exits())


@pytest.mark.parametrize(
    "space",
    [mobile((1, 8, 8), 10), mobile((3, 32, 32), 10), mobile((3, 224, 224), 100, max_exits=5), toy((3, 16, 16), 4)],
    ids=lambda space: space.name,
)
def test_networks_of_spaces(space: StagedSpace) -> None:
    networks = [space.decode(genome.tolist()) for genome in random_genomes(space, 12, np.random.default_rng(0))]
    assert max(len(network.exits) for network in networks) == 1 + space.max_exits
    for network in networks:
        check(network)


def test_a_single_exit_is_one_segment_equal_to_the_network() -> None:
    network = single_exit()
    (segment,) = network.segments()
    assert segment.network == network
    assert segment.takes == ("image",) and segment.gives == ()


def test_what_is_taken_and_given_by_hand() -> None:
    first, second, third = three_exits().segments()
    assert (first.takes, first.gives) == (("image",), ("stem.hard_swish",))
    assert (second.takes, second.gives) == (("stem.hard_swish",), ("body.se.scale",))
    # The stem's tensor skips a segment, and the image enters twice.
    assert (third.takes, third.gives) == (("body.se.scale", "stem.hard_swish", "image"), ())


def test_segments_run_one_after_the_other_give_the_networks_answers() -> None:
    network = three_exits()
    weights = random_weights(network)
    image = np.random.default_rng(1).normal(size=(3, 8, 8))
    tensors, found = {"image": image}, []
    for segment in network.segments():
        outputs = evaluate(segment.network, weights, {name: tensors[name] for name in segment.takes})
        tensors |= {name: outputs[name] for name in segment.gives}
        found.append(outputs[segment.network.ops[segment.network.exits[0]].name])
    for ours, whole in zip(found, answers(network, weights, image), strict=True):
        np.testing.assert_array_equal(ours, whole)


def test_an_answer_that_is_computed_further_is_given_on() -> None:
    b = Builder()
    early = b("dense", "early", b.input("features", (6,)), units=4)
    network = b.network(early, b("softmax", "late", early))
    check(network)
    assert network.segments()[0].gives == network.segments()[1].takes == ("early",)


def test_several_inputs_enter_where_they_are_read() -> None:
    b = Builder()
    image, mask = b.input("image", (2, 4, 4)), b.input("mask", (2, 4, 4))
    early = b("global_pool", "early", image)
    network = b.network(early, b("global_pool", "late", b("mul", "masked", image, mask)))
    check(network)
    assert [segment.takes for segment in network.segments()] == [("image",), ("image", "mask")]
