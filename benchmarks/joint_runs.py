"""The runs behind `joint.py`: one per seed, and networks trained from scratch to compare a supernet with."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nas.config import parse
from nas.process.events import Voice
from nas.process.files import append_jsonl, read_jsonl
from nas.run.context import Context
from nas.run.folder import RunFolder
from nas.run.layout import EXPERIMENT, MEASUREMENTS
from nas.run.opening import materials, open_context
from nas.run.supernet import shared_weights
from nas.run.training import training_set
from nas.seeds import derive_seed
from nas.stages import calibrate, supernet
from search_spaces.ir import Network
from search_spaces.slots import random_genomes

BUDGET_S = 0.12e-3
#: Test images that accuracies are taken on: a standard error of half a point, less for differences.
UNSEEN = 4000
Floats = NDArray[np.float64]


def experiment(seed: int, epochs: int, measurements: Path | None) -> Any:
    """The experiment of a seed; all seeds take the calibration readings of the first."""
    return parse.experiment(
        {
            "name": f"joint-{seed}",
            "seed": seed,
            "data": {"name": "fashion_mnist", "limit": 10_000},
            "space": {"name": "mobile", "table": "28x28"},
            "target": {"device": "host", "runner": "onnxruntime", "threads": 1},
            "budgets": [{"name": "interest", "latency": f"{BUDGET_S * 1e3} ms"}],
            "calibration": {"measurements": str(measurements)} if measurements else {},
            "supernet": {"epochs": epochs, "random_subnets": 1},
            "search": {"images": 1000},
        }
    )


@cache
def opened(out: Path, seed: int, epochs: int) -> Context:
    """The run of a seed, calibrated and with its supernet trained."""
    first = out / "joint-0" / MEASUREMENTS
    made = experiment(seed, epochs, first if seed else None)
    folder = out / made.name
    begun = (folder / EXPERIMENT).exists()
    run = RunFolder.open(folder, resume=begun)
    context = open_context(made, materials(made, begun=begun), run, Voice())
    calibrate.calibrate(context)
    supernet.train_supernet(context)
    return context


def unseen(context: Context, genomes: NDArray[np.int64]) -> Floats:
    """Accuracy [n] of the last exit by shared weights, on test images, which no method sees."""
    from nas.search.evaluators.supernet import SupernetEvaluator

    data = training_set(context, False)
    calibration = data.prepared(data.sample(512, context.seed("batch-norm")))
    evaluator = SupernetEvaluator(
        context.space,
        shared_weights(context),
        calibration,
        context.data.raw_images("test")[context.order("test")[:UNSEEN]],
        context.data.preprocessing.apply,
    )
    labels = context.data.test_labels()[context.order("test")[:UNSEEN]]
    return np.array([(evaluator.logits(g[None])[0][:, -1].argmax(-1) == labels).mean() for g in genomes])


def answers(network: Network, weights: dict[str, Any], images: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class [n] that the last exit of a trained network gives to each image."""
    import jax

    from nas.nn import interpreter

    params, stats = interpreter.split(network, weights)

    @jax.jit
    def run(batch: Any) -> Any:
        return interpreter.apply(network, params, stats, {network.inputs[0].name: batch}).outputs[-1].argmax(axis=-1)

    return np.concatenate([np.asarray(run(batch), np.int64) for batch in np.split(images, 16)])


def trained(out: Path, networks: int, again: int, epochs: int, shared_epochs: int) -> list[dict[str, Any]]:
    """Accuracy on unseen images of random networks trained briefly from scratch, the first `again` of them twice."""
    import jax

    from nas.nn.loop import Recipe
    from nas.nn.static import finish, network_trainer

    path = out / "networks.jsonl"
    context = opened(out, 0, shared_epochs)
    genomes = random_genomes(context.space, networks, np.random.default_rng(20))
    rows = list(read_jsonl(path))
    done = {(row["network"], row["training"]) for row in rows}
    wanted = [*((number, 0) for number in range(networks)), *((number, 1) for number in range(min(again, networks)))]
    data, labels = training_set(context, False), context.data.test_labels()[context.order("test")[:UNSEEN]]
    images = context.data.preprocessing.apply(context.data.raw_images("test")[context.order("test")[:UNSEEN]])
    steps = epochs * (len(data) // 64)
    for number, training in (pair for pair in wanted if pair not in done):
        network = context.space.decode(genomes[number])
        seed = derive_seed(training, "scratch", number)
        trainer = network_trainer(network, data, Recipe(steps, 64, 0.1), seed)
        weights = finish(network, trainer.run(trainer.start()), data, seed)
        right = answers(network, weights, images) == labels
        # Programs of networks that are done with: a hundred megabytes each.
        jax.clear_caches()
        genome = genomes[number].tolist()
        rows.append({"network": number, "training": training, "genome": genome, "accuracy": float(right.mean())})
        append_jsonl(path, rows[-1:])
        print(f"network {number}, training {training}: {rows[-1]['accuracy']:.4f}", flush=True)
    return [row for row in rows if (row["network"], row["training"]) in wanted]


def agreement(out: Path, seeds: int, epochs: int, rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Print Kendall's tau of each seed's supernet with the mean of a network's trainings, with 95 % intervals.

    Beside it that of multiply-adds, and of one training with another: about what a single training's noise leaves.
    """
    numbers = sorted({row["network"] for row in rows})
    taken = [[row for row in rows if row["network"] == number] for number in numbers]
    genomes = np.array([rows_of_one[0]["genome"] for rows_of_one in taken])
    alone = np.array([np.mean([row["accuracy"] for row in rows_of_one]) for rows_of_one in taken])
    context = opened(out, 0, epochs)
    guesses = {"multiply-adds": np.array([[float(context.space.decode(g).macs) for g in genomes]])}
    supernets = np.array([unseen(opened(out, seed, epochs), genomes) for seed in range(seeds)])
    guesses |= {f"supernet, seed {seed}": supernets[[seed]] for seed in range(seeds)}
    guesses["supernets, mean over seeds"] = supernets
    found = {name: tau(alone, values) for name, values in guesses.items()}
    twice = np.array([[row["accuracy"] for row in several[:2]] for several in taken if len(several) > 1]).T
    print(f"\n{len(alone)} networks from scratch, accuracy {alone.min():.3f} to {alone.max():.3f}")
    if twice.size:
        apart = float(np.std(twice[0] - twice[1]) / np.sqrt(2))
        name = f"one training with another ({twice.shape[1]} networks, standard deviation {apart:.4f})"
        found[name] = tau(twice[0], twice[[1]])
    for name, (middle, low, high) in found.items():
        print(f"Kendall tau {middle:.3f} [{low:.3f}, {high:.3f}]: {name}")
    return found


def tau(a: Floats, several: Floats) -> list[float]:
    """Mean of Kendall's tau between a [n] and each of several [k, n], with the ends of its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    draws = [np.arange(len(a)), *(rng.integers(len(a), size=len(a)) for _ in range(2000))]
    means = [np.mean([kendalltau(a[rows], b[rows]).statistic for b in several]) for rows in draws]
    return [float(means[0]), *(float(end) for end in np.nanquantile(means[1:], (0.025, 0.975)))]
