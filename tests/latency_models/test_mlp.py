"""The perceptron: what it learns, that numpy and jax say the same, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import Target
from latency_models import mlp

TARGET = Target("rpi4b", "onnxruntime")
OPTIONS = (3, 2, 4, 3)
RNG = np.random.default_rng(0)
GENOMES = RNG.integers(0, OPTIONS, (300, len(OPTIONS)))
COSTS = [RNG.uniform(1e-4, 1e-3, options) for options in OPTIONS]
SECONDS = sum(cost[GENOMES[:, gene]] for gene, cost in enumerate(COSTS)) * RNG.normal(1, 0.02, len(GENOMES))


@pytest.fixture(scope="module")
def model() -> mlp.Mlp:
    return mlp.fit(TARGET, OPTIONS, GENOMES[:200], SECONDS[:200])


def test_it_learns_a_sum(model: mlp.Mlp) -> None:
    error = model.latency_s(GENOMES[200:]) / SECONDS[200:] - 1
    assert np.sqrt(np.mean(error**2)) < 0.06
    assert 0.01 < model.error < 0.1 and model.networks == 200
    z = (SECONDS[200:] - model.latency_s(GENOMES[200:])) / model.std_s(GENOMES[200:])
    assert 0.4 < np.sqrt(np.mean(z**2)) < 1.6


def test_seconds_are_positive_and_a_batch_equals_each_alone(model: mlp.Mlp) -> None:
    everything = np.stack(np.meshgrid(*map(np.arange, OPTIONS)), axis=-1).reshape(-1, len(OPTIONS))
    together = model.latency_s(everything)
    assert (together > 0).all() and np.isfinite(together).all()
    alone = np.concatenate([model.latency_s(genome[None]) for genome in everything])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_jax_says_the_same_and_has_gradients(model: mlp.Mlp) -> None:
    import jax

    encoded = mlp.onehot(GENOMES[:20], OPTIONS)
    seconds = model.differentiable()
    np.testing.assert_allclose(seconds(encoded), model.latency_s(GENOMES[:20]), rtol=1e-4)
    soft = np.concatenate([np.full(options, 1 / options, np.float32) for options in OPTIONS])
    gradient = np.asarray(jax.grad(lambda row: seconds(row))(soft))
    # Moving towards a dearer option of the gene that costs most must cost.
    gene = int(np.argmax([np.ptp(cost) for cost in COSTS]))
    first = sum(OPTIONS[:gene])
    part = gradient[first : first + OPTIONS[gene]]
    assert part[np.argmax(COSTS[gene])] > part[np.argmin(COSTS[gene])]


def test_it_is_stored_without_pickle(model: mlp.Mlp, tmp_path: Path) -> None:
    model.save(tmp_path / "mlp.npz")
    again = mlp.Mlp.load(tmp_path / "mlp.npz")
    np.testing.assert_array_equal(again.latency_s(GENOMES), model.latency_s(GENOMES))
    assert (again.target, again.options, again.error) == (model.target, model.options, model.error)
    (tmp_path / "text.npz").write_text("nothing")
    np.savez(tmp_path / "other.npz", a=np.zeros(1))
    with np.load(tmp_path / "mlp.npz") as data:
        arrays = dict(data)
    np.savez(tmp_path / "incomplete.npz", **{**arrays, "header": np.array('{"schema": 1, "target": {}}')})
    for name in ("text.npz", "other.npz", "missing.npz", "incomplete.npz"):
        with pytest.raises(ValueError, match="is not a stored perceptron"):
            mlp.Mlp.load(tmp_path / name)


def test_one_hot_has_one_column_per_option() -> None:
    rows = mlp.onehot(np.array([[2, 0, 3, 1]]), OPTIONS)
    assert rows.tolist() == [[0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0]]
    with pytest.raises(ValueError, match="outside its options"):
        mlp.onehot(np.array([[3, 0, 0, 0]]), OPTIONS)
    with pytest.raises(ValueError, match="do not have the 4 genes"):
        mlp.onehot(np.array([[0, 0]]), OPTIONS)


def test_too_few_or_impossible_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 20 or more"):
        mlp.fit(TARGET, OPTIONS, GENOMES[:10], SECONDS[:10])
    with pytest.raises(ValueError, match="must be positive"):
        mlp.fit(TARGET, OPTIONS, GENOMES[:30], -SECONDS[:30])
