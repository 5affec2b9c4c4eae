"""The multi-exit loss by hand, and the factors of gradient equilibrium."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nas.tasks.image_classification.losses import equilibrium, exits_loss, smoothed

LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 4)), jnp.float32)
TARGETS = smoothed(jnp.asarray([0, 1, 2, 3, 0]), 4, 0.1)
TEACHER = jax.nn.softmax(jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)), jnp.float32))


def cross_entropy(targets: jax.Array, logits: jax.Array) -> float:
    return float(-(targets * jax.nn.log_softmax(logits)).sum(-1).mean())


def test_smoothing() -> None:
    assert np.allclose(TARGETS.sum(1), 1) and np.isclose(TARGETS[0, 0], 0.925) and np.isclose(TARGETS[0, 1], 0.025)


def test_student_learns_from_teacher_and_labels() -> None:
    loss = exits_loss(LOGITS, jnp.asarray([True, False, True]), TARGETS, TEACHER, jnp.asarray(0), 0.25, 0.5)
    mixed = 0.25 * TEACHER + 0.75 * TARGETS
    assert np.isclose(loss, cross_entropy(mixed, LOGITS[2]) + 0.5 * cross_entropy(mixed, LOGITS[0]))


def test_teacher_learns_from_labels_and_teaches_its_exits() -> None:
    loss = exits_loss(LOGITS, jnp.asarray([True, True, True]), TARGETS, TEACHER, jnp.asarray(1), 1.0, 2.0)
    own = jax.nn.softmax(LOGITS[2])
    early = (cross_entropy(own, LOGITS[0]) + cross_entropy(own, LOGITS[1])) / 2
    assert np.isclose(loss, cross_entropy(TARGETS, LOGITS[2]) + 2 * early)


def test_the_teacher_is_not_pulled_towards_its_exits() -> None:
    def early_only(last: jax.Array) -> jax.Array:
        logits = LOGITS.at[2].set(last)
        whole = exits_loss(logits, jnp.ones(3, bool), TARGETS, TEACHER, jnp.asarray(1), 1.0, 1.0)
        return whole - exits_loss(logits, jnp.zeros(3, bool), TARGETS, TEACHER, jnp.asarray(1), 1.0, 1.0)

    assert not np.asarray(jax.grad(early_only)(LOGITS[2])).any()


def test_a_network_without_early_exits() -> None:
    loss = exits_loss(LOGITS[2:], jnp.asarray([True]), TARGETS, TEACHER, jnp.asarray(0), 0.0, 1.0)
    assert np.isclose(loss, cross_entropy(TARGETS, LOGITS[2]))


@pytest.mark.parametrize("legal", [[True, True, True], [False, True, True], [True, False, True], [False, False, True]])
def test_equilibrium_gives_each_exit_an_equal_share(legal: list[bool]) -> None:
    """The gradient of one unit that each head sends reaches the first exit as one unit in all."""
    head, behind = equilibrium(jnp.asarray(legal))
    reaching, shares = 1.0, []
    for h, b in zip(head.tolist(), behind.tolist(), strict=True):
        shares.append(reaching * h)
        reaching *= b
    count = sum(legal)
    assert np.allclose(shares, [on / count for on in legal]) and np.isclose(reaching, 0)
