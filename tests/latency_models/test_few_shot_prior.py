"""A prior learned on source devices: what it is refused to be learned from, stored, and told of operators."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_models.few_shot import learn, load, save
from tests.latency_models.invented_devices import OPS, POOL, SOURCES, TARGET, candidates, chosen, prior


@pytest.mark.parametrize(
    ("networks", "seconds", "says"),
    [
        (OPS, SOURCES[:-1], "a row for each of the 900 networks"),
        (OPS, SOURCES[:, 0], "a column for each source"),
        (OPS, -SOURCES, "negative"),
        (OPS, np.full_like(SOURCES, np.nan), "source 0 has fewer than 5"),
        (OPS[0], SOURCES, "a matrix"),
        (OPS.astype(str), SOURCES, "integers"),
        (-OPS.astype(float), SOURCES, "not negative"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(networks: np.ndarray, seconds: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        learn(networks, seconds)


def test_another_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="learned on 6 columns of integers"):
        prior().candidates(OPS[:, :5])
    with pytest.raises(ValueError, match="learned on 6 columns of integers"):
        prior().candidates(OPS.astype(float))


def test_a_stored_prior_predicts_the_same(tmp_path: Path) -> None:
    named = replace(prior(), op_names=("none", "skip", "conv1", "conv3"), devices=("a", "b", "c"))
    save(named, tmp_path / "prior.npz")
    again = load(tmp_path / "prior.npz")
    assert (again.op_names, again.devices) == (named.op_names, named.devices)
    index = chosen()
    one = prior().adapt(candidates(), index, TARGET[index])
    other = again.adapt(again.candidates(OPS), index, TARGET[index])
    np.testing.assert_array_equal(one.quantile_s(0.95), other.quantile_s(0.95))


def test_operators_in_another_order_are_the_same_operators() -> None:
    names = ("none", "skip", "conv1", "conv3")
    named = learn(OPS[:POOL], SOURCES[:POOL], op_names=names, devices=("a", "b", "c"))
    index, order = chosen(), np.array([2, 0, 3, 1])
    other = tuple(names[i] for i in order)
    one = named.adapt(named.candidates(OPS, names), index, TARGET[index])
    two = named.adapt(named.candidates(np.argsort(order)[OPS], other), index, TARGET[index])
    np.testing.assert_array_equal(one.mean_s, two.mean_s)
    np.testing.assert_array_equal(named.candidates(OPS).expected, named.candidates(OPS, names).expected)
    np.testing.assert_array_equal(prior().candidates(OPS).expected, prior().candidates(OPS, other).expected)


@pytest.mark.parametrize(
    ("ops", "names", "says"),
    [
        (
            OPS,
            ("none", "skip", "conv1", "conv5"),
            "operators are none, skip, conv1, conv5; the prior was learned on none",
        ),
        (OPS, ("none", "skip", "conv1", "conv3", "pool"), "Only the order may differ"),
        (OPS, ("none", "skip", "skip", "conv3"), "Only the order may differ"),
        (OPS + 1, ("conv3", "none", "skip", "conv1"), "operators from 1 to 4, but there are 4 names"),
        (OPS.astype(float), ("conv3", "none", "skip", "conv1"), "are no integers"),
    ],
)
def test_other_operators_are_refused(ops: np.ndarray, names: tuple[str, ...], says: str) -> None:
    named = replace(prior(), op_names=("none", "skip", "conv1", "conv3"))
    with pytest.raises(ValueError, match=says):
        named.candidates(ops, names)


def test_names_that_do_not_fit_are_not_learned() -> None:
    with pytest.raises(ValueError, match="2 names for 3 sources"):
        learn(OPS[:POOL], SOURCES[:POOL], devices=("a", "b"))


def test_operators_may_be_numbered_from_anywhere_while_nothing_has_to_be_translated() -> None:
    names = ("none", "skip", "conv1", "conv3")
    shifted = learn(OPS[:POOL] + 1, SOURCES[:POOL], op_names=names)
    same, plain = shifted.candidates(OPS + 1, names), prior().candidates(OPS)
    measured, seconds = np.arange(10), SOURCES[:10, 0]
    np.testing.assert_allclose(
        shifted.adapt(same, measured, seconds).mean_s, prior().adapt(plain, measured, seconds).mean_s, rtol=1e-6
    )


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", header=np.array('{"schema": 99}'))
    with pytest.raises(ValueError, match="schema 99"):
        load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="not a stored prior"):
        load(tmp_path / "missing.npz")
