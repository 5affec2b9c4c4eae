"""Losses with gradients: the same losses as without, and gradients of what is there and what could be."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from nas.optimisers.gated import GatedLoss, GatedNetworks, soft_cascade, thresholds_of
from nas.optimisers.sampled import SampledLoss, SampledNetworks, cascade_loss
from nas.testing.problems import Choices
from search_spaces.slots import random_genomes, sizes
from tests.nas.search.evaluators.test_sampled import PARAMS, SPACE, training_set


class SpaceProblem(Choices):
    """What an optimiser knows of the space."""

    def __init__(self) -> None:
        super().__init__(tuple(sizes(SPACE).tolist()))

    def canonical(self, genomes: np.ndarray) -> np.ndarray:
        return np.asarray(SPACE.canonical(genomes))

    def active(self, genomes: np.ndarray) -> np.ndarray:
        return SPACE.active(genomes)


SAMPLED = SampledNetworks(SPACE, PARAMS, training_set(40), 32, 1)
GATED = GatedNetworks(SAMPLED)
GENES = [gene.name for gene in SPACE.genes]
GENOMES = np.unique(SPACE.canonical(random_genomes(SPACE, 6, np.random.default_rng(0))), axis=0)


def test_the_loss_is_that_of_the_network_whatever_its_absent_blocks_would_be() -> None:
    loss, plain = GatedLoss(GATED, SpaceProblem()), SampledLoss(SAMPLED, lambda _: np.ones(1, np.bool_))
    for step, genome in enumerate(GENOMES):
        assert loss(genome, step).loss == pytest.approx(plain(genome, step).loss, abs=1e-4)


def test_where_losses_are_balanced_every_class_counts_the_same() -> None:
    """The mean over all images is then the mean over classes of each class's mean."""
    data = training_set(64)
    rare = replace(data, labels=np.where(np.arange(64) % 16 == 0, 2, data.labels % 2).astype(np.int32))
    networks, plain = (SampledNetworks(SPACE, PARAMS, rare, 64, 1, balanced) for balanced in (True, False))
    genome = GENOMES[-1]
    logs, labels = networks(genome, 0)
    own = -logs[-1][np.arange(64), labels]
    by_class = np.mean([own[labels == label].mean() for label in (0, 1, 2)])
    found, other = (SampledLoss(each, lambda _: np.ones(1, np.bool_))(genome, 0).loss for each in (networks, plain))
    assert found == pytest.approx(by_class) and other == pytest.approx(own.mean())
    assert GatedLoss(GatedNetworks(networks), SpaceProblem())(genome, 0).loss == pytest.approx(found, abs=1e-4)


def test_options_of_absent_blocks_are_drawn_and_change_no_network() -> None:
    loss, depth = GatedLoss(GATED, SpaceProblem()), GENES.index("stage0.depth")
    genome = np.zeros(len(GENES), np.int64)
    drawn = np.stack([loss.filled(genome, step) for step in range(20)])
    assert (SPACE.canonical(drawn) == genome).all()
    varied = {GENES[gene] for gene in np.flatnonzero(np.ptp(drawn, axis=0))}
    assert varied == {"stage0.block1.expansion"} and (drawn[:, depth] == 0).all()
    assert np.array_equal(drawn[3], loss.filled(genome, 3))


def test_everything_elastic_is_seen_at_once() -> None:
    loss = GatedLoss(GATED, SpaceProblem())
    for step, genome in enumerate(GENOMES):
        feedback = loss(genome, step)
        assert feedback.gradient is not None and feedback.seen is not None and feedback.seen.all()
        elastic = [gene for gene, name in enumerate(GENES) if not name.startswith("exit")]
        used = SPACE.active(genome[None])[0]
        changed = np.ptp(feedback.gradient, axis=1) > 0
        assert changed[[gene for gene in elastic if used[gene]]].all()


def test_a_cascade_without_exits_that_count_is_the_last_answer() -> None:
    rng = np.random.default_rng(0)
    losses, confidence = jnp.asarray(rng.uniform(size=(3, 50))), jnp.asarray(rng.normal(size=(3, 50)))
    none = soft_cascade(losses, confidence, jnp.array([0.0, 0.0, 1.0]), jnp.zeros(2), jnp.full(2, 0.1))
    assert float(none) == pytest.approx(float(losses[-1].mean()))
    everyone = soft_cascade(losses, confidence, jnp.array([1.0, 1.0, 1.0]), jnp.full(2, -1e3), jnp.full(2, 0.1))
    assert float(everyone) == pytest.approx(float(losses[0].mean()))


def test_a_cascade_that_is_hardly_soft_is_the_one_of_shares() -> None:
    """Log-probabilities as a trained network has them; the same samples leave."""
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2.0, size=(3, 64, 4))
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    labels, rates = rng.integers(0, 4, 64), (0.25, 0.5)
    hard = cascade_loss(logs, labels, np.ones(3, np.bool_), rates)
    confidence, own = logs.max(-1), -logs[:, np.arange(64), labels]
    first = np.sort(confidence[0])[::-1][15:17].mean()
    arriving = np.sort(confidence[1][confidence[0] < first])[::-1]
    second = arriving[23:25].mean()
    soft = soft_cascade(
        jnp.asarray(own), jnp.asarray(confidence), jnp.ones(3), jnp.array([first, second]), jnp.full(2, 1e-4)
    )
    assert float(soft) == pytest.approx(hard, rel=1e-4)


@pytest.mark.parametrize("rates", [(0.5, 0.5, 0.5), (0.0, 0.95, 0.3)])
@pytest.mark.parametrize("on", [(1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (1.0, 0.0, 1.0)])
def test_of_those_that_arrive_at_an_exit_its_share_leaves(rates: tuple[float, ...], on: tuple[float, ...]) -> None:
    """Confident samples are confident at all exits: whoever arrives late is less so than all samples are."""
    rng = np.random.default_rng(0)
    confidence = jnp.asarray(rng.normal(size=128) + 0.3 * rng.normal(size=(4, 128)))
    present, softness = jnp.array([*on, 1.0]), jnp.full(3, 0.25)
    thresholds = thresholds_of(jnp.array(rates), confidence, present, softness)
    # The loss at the last exits alone counts who arrives there.
    behind = [jnp.ones((4, 128)) * (jnp.arange(4) >= position)[:, None] for position in range(4)]
    arriving = [float(soft_cascade(each, confidence, present, thresholds, softness)) for each in behind]
    expected = np.cumprod([1.0, *(1 - np.array(rates) * on)])
    assert arriving == pytest.approx(expected.tolist(), abs=2e-3)


def test_a_gate_of_an_exit_says_what_the_exit_would_do() -> None:
    """One exit alone enters the loss linearly, be it on or off."""
    loss = GatedLoss(GATED, SpaceProblem(), exit_rates=(0.5,) * (len(SPACE.exit_sites) - 1))
    gene = GENES.index("exit0")
    off = np.zeros(len(GENES), np.int64)
    off[GENES.index("stage0.depth")] = 1
    on = off.copy()
    on[gene] = 1
    assert SPACE.canonical(on[None])[0, gene] == 1
    there, bare = loss(on, 0), loss(off, 0)
    for feedback in (there, bare):
        assert feedback.gradient is not None
        promised = feedback.gradient[gene, 1] - feedback.gradient[gene, 0]
        assert abs(promised) > 1e-4
        assert there.loss - bare.loss == pytest.approx(promised, abs=1e-4)
