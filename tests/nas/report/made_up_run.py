"""A run's folder with plausible numbers, up to any stage, for the tests of the report; nothing in it was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nas.process.files import append_jsonl, atomic_write_json, atomic_write_text, sha256_file
from nas.run.trial import AtBudget, Trial
from search_spaces.ir import Network
from search_spaces.mobile import mobile
from search_spaces.slots import SearchSpace, random_genomes

STAGES = ("nothing", "calibrate", "search", "verify")
TARGET = "host-onnxruntime-t1-b1-float32"
FRACTIONS = (0.4, 0.6, 0.8, 1.0)
BUDGETS: tuple[dict[str, Any], ...] = (
    {"name": "tiny", "of": "worst_case", "latency_s": 0.40e-3},
    {"name": "balanced", "of": "expected", "latency_s": 0.42e-3},
    {"name": "accurate", "of": "worst_case", "latency_s": 0.80e-3},
)
_SECONDS = {"calibrate": 41.2, "supernet": 2711.0, "search": 388.4, "train": 912.6, "export": 14.1, "verify": 66.0}


@cache
def space() -> SearchSpace:
    """The space of the run."""
    return mobile((1, 28, 28), 10)


@cache
def _network(genome: tuple[int, ...]) -> tuple[Network, tuple[int, ...]]:
    """A network, and the MACs to each of its exits."""
    network = space().decode(genome)
    return network, tuple(network.cumulative(k).macs for k in range(len(network.exits)))


class _Maker:
    """Numbers from a seed: latencies near a roofline, accuracies that grow with the logarithm of the MACs."""

    def __init__(self, seed: int, budgets: Sequence[Mapping[str, Any]]) -> None:
        self.budgets = budgets
        self.rng = np.random.default_rng(seed)

    def reach(self, genome: Sequence[int]) -> list[float]:
        network, macs = _network(tuple(genome))
        kernels = len(network.ops) / 3
        return [
            14e-6 * (k + 1) + 5.5e-6 * kernels * (k + 1) / len(macs) + count / 2.4e10 for k, count in enumerate(macs)
        ]

    def accuracies(self, genome: Sequence[int]) -> list[float]:
        macs = np.array(_network(tuple(genome))[1])
        ceiling = 0.905 + 0.003 * self.rng.standard_normal()
        return list(ceiling - 0.32 * np.exp(-macs / 8e5) - 0.012 * (4e6 / (macs + 2e6) - 0.5))

    def trial(self, genome: Sequence[int], number: int) -> Trial:
        network, reach, right = _network(tuple(genome))[0], self.reach(genome), self.accuracies(genome)
        base = Trial(number // 32, number % 32, 32, tuple(genome), network.key, "complete")
        if reach[-1] > 1.15e-3:
            return replace(base, status="infeasible", violation=(0.3,) * len(self.budgets),
                           budgets=(None,) * len(self.budgets))  # fmt: skip
        rates = self.rng.dirichlet(np.linspace(2, 1, len(reach)))
        expected, best = float(rates @ reach), float(right[-1] - 0.004)
        curve = [
            (f, float(f * reach[-1]), float(best - 0.13 * (1 - f) ** 2.5))
            for f in FRACTIONS
            if len(reach) > 1 or f == 1
        ]
        at = AtBudget(best, expected, tuple(np.linspace(0.8, 0.6, len(reach) - 1)), tuple(rates))
        metrics = {
            "accuracy": best, "final_accuracy": best - 0.001, "expected_latency_s": expected,
            "worst_case_latency_s": reach[-1], "params": network.params, "macs": network.macs,
            "peak_memory_bytes": network.peak_memory, "weight_bytes": network.weight_bytes, "exits": len(reach),
        }  # fmt: skip
        return replace(
            base, metrics=metrics, curve=tuple(curve), violation=(0.0,) * len(self.budgets),
            budgets=tuple(at if reach[-1] <= b["latency_s"] or b["of"] == "expected" else None for b in self.budgets),
        )  # fmt: skip

    def measurement(self, purpose: str, genome: Sequence[int], spread: float) -> dict[str, Any]:
        reach = np.array(self.reach(genome))
        measured = reach * (1 + spread * self.rng.standard_normal() + (0.02 if purpose != "calibration" else 0))
        return {
            "schema": 1, "purpose": purpose, "target": TARGET, "genome": list(genome),
            "key": _network(tuple(genome))[0].key, "predicted_s": reach, "predicted_std_s": 0.03 * reach,
            "exits": [
                {"exit": k, "median_s": s, "upper_95_s": 1.012 * s, "contended": False} for k, s in enumerate(measured)
            ],
        }  # fmt: skip


def settle_again(folder: Path) -> None:
    """Let test.json be about the verify.json that lies there."""
    record = json.loads((folder / "test.json").read_text())
    record["verify_sha256"] = sha256_file(folder / "verify.json")
    atomic_write_json(folder / "test.json", record)


def write_run(
    folder: Path,
    until: str = "verify",
    kept: Mapping[str, bool | None] | None = None,
    name: str = "fashion-three-budgets",
    budgets: Sequence[Mapping[str, Any]] = BUDGETS,
    seed: int = 0,
    networks: int = 256,
) -> Path:
    """Write a run up to the stage `until`; `kept` overrides what became of a budget by name."""
    folder.mkdir(parents=True, exist_ok=True)
    if until == "nothing":
        return folder
    maker = _Maker(seed, budgets)
    listed = [{"latency": f"{b['latency_s']!r} s", "of": b["of"], "name": b["name"], "target": None} for b in budgets]
    experiment = {
        "name": name, "budgets": listed, "target": {"device": "host", "runner": "onnxruntime"}, "seed": seed,
        "latency_model": {"name": "roofline"},
    }  # fmt: skip
    atomic_write_text(folder / "experiment.yaml", json.dumps(experiment, indent=2) + "\n")
    atomic_write_json(folder / "environment.json", _environment(seed))
    genomes = random_genomes(space(), networks, maker.rng).tolist()
    append_jsonl(folder / "measurements.jsonl", [maker.measurement("calibration", g, 0.025) for g in genomes[:12]])
    done = ["calibrate"]
    if until != "calibrate":
        trials = [maker.trial(genome, number) for number, genome in enumerate(genomes)]
        append_jsonl(folder / "trials.jsonl", [asdict(trial) for trial in trials])
        atomic_write_json(folder / "front.json", _front(trials, budgets))
        done += ["supernet", "search"]
    if until == "verify":
        states = [(kept or {}).get(budget["name"], True) for budget in budgets]
        winners = [
            _winner(maker, trials, n, b, state) for n, (b, state) in enumerate(zip(budgets, states, strict=True))
        ]
        for winner in winners:
            genome = winner["genome"]
            rows = [maker.measurement("candidate", tried, 0.05) for tried in winner.pop("_tried")]
            append_jsonl(folder / "measurements.jsonl", [*rows, maker.measurement("winner", genome, 0.02)])
        tested = [_tested(winner) for winner in winners]
        atomic_write_json(folder / "verify.json", {"schema": 2, "looks": 1, "winners": winners, "unmet": []})
        atomic_write_json(
            folder / "test.json", {"schema": 2, "kept": all(w["kept"] for w in tested), "winners": tested}
        )
        settle_again(folder)
        done += ["train", "export", "verify"]
        for winner in winners:
            atomic_write_text(folder / "winners" / winner["name"].replace("/", "_") / "manifest.json", "{}\n")
    for stage in done:
        append_jsonl(folder / "log.jsonl", [
            {"time": 0.0, "event": "begin", "stage": stage},
            {"time": 0.0, "event": "end", "stage": stage, "seconds": _SECONDS[stage]},
        ])  # fmt: skip
    if until == "search":
        append_jsonl(folder / "log.jsonl", [{"time": 0.0, "event": "begin", "stage": "train"}])
    return folder


def _environment(seed: int) -> dict[str, Any]:
    parts = {"train": 48000, "arch": 3000, "val": 5000, "cert": 3992, "test": 10000}
    return {
        "schema": 1,
        "versions": {"python": "3.11.9", "hwnas": "0.1.0", "jax": "0.10.2", "onnxruntime": "1.31.1"},
        "machine": {"platform": "Linux-6.1-x86_64", "processor": "A Processor With Eight Cores", "cores": 2},
        "facts": {
            "compiler": "g++ 12.2.0", "trains_on": "cpu", "cores_used": 2, "cores_present": 8, "governor": "powersave",
            "unused_gpu": None,
        },
        "seed": seed,
        "splits": {**{p: {"images": n, "sha256": f"{n:064x}"} for p, n in parts.items()}, "left_out": 8},
        "profiles": {"host": {"name": "this machine"}},
    }  # fmt: skip


def _front(trials: Sequence[Trial], budgets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    complete = [t for t in trials if t.status == "complete"]
    best: list[Trial] = []
    for trial in sorted(complete, key=lambda t: t.metrics["worst_case_latency_s"]):
        if not best or trial.metrics["accuracy"] > best[-1].metrics["accuracy"]:
            best.append(trial)
    pareto = [{"key": t.key, "genome": t.genome, "metrics": t.metrics, "budgets": []} for t in best]
    return {
        "schema": 1,
        "model_version": 0,
        "pareto": pareto,
        "budgets": {b["name"]: [asdict(best[-1])] for b in budgets},
    }


def _tested(winner: dict[str, Any]) -> dict[str, Any]:
    """What test.json has of a winner, taken out of what was made up of it."""
    accuracy = winner["accuracy"]
    tested = {name: winner.pop(name) for name in ("kept", "parity", "tvm_s")}
    return {
        **tested,
        "name": winner["name"],
        "reason": winner["reason"],
        "exits": [
            {"name": e["name"], **{name: e.pop(name) for name in ("accuracy", "interval")}, "test_rate": e["rate"]}
            for e in winner["exits"]
        ],
        "accuracy": {name: accuracy.pop(name) for name in [*accuracy] if name != "val"},
    }


def _winner(
    maker: _Maker, trials: Sequence[Trial], number: int, budget: Mapping[str, Any], kept: bool | None
) -> dict[str, Any]:
    complete = [t for t in trials if t.status == "complete"]
    limit = budget["latency_s"] * 0.97

    def latency(t: Trial) -> float:
        return t.metrics["worst_case_latency_s" if budget["of"] == "worst_case" else "expected_latency_s"]

    def worth(t: Trial) -> float:
        return t.metrics["accuracy"] + (0.01 * t.metrics["exits"] if budget["name"] != "tiny" else 0)

    fitting = sorted((t for t in complete if latency(t) <= limit), key=worth, reverse=True)
    trial = fitting[0]
    at = trial.budgets[number]
    assert at is not None
    reach, right = maker.reach(trial.genome), [a + 0.018 for a in maker.accuracies(trial.genome)]
    predicted = latency(trial)
    measured = 1.06 * budget["latency_s"] if kept is False else 1.006 * predicted
    accuracy = trial.metrics["accuracy"] + 0.016
    count = len(reach)
    return {
        "name": budget["name"], "budget": dict(budget), "target": TARGET, "budget_s": budget["latency_s"],
        "predicted_s": predicted, "predicted_std_s": 0.03 * predicted,
        "measured_s": None if kept is None else measured, "upper_95_s": None if kept is None else 1.011 * measured,
        "kept": kept, "within_budget": kept,
        "reason": {False: "The upper bound is 7.2 % over the budget; 4 candidates were measured and none keeps it.",
                   None: "Its device is not this machine; run verify there."}.get(kept, ""),
        "contended": False, "key": trial.key, "genome": trial.genome,
        "exits": [
            {"name": "final.dense" if k == count - 1 else f"exit{2 * k}.dense", "reach_s": reach[k],
             "accuracy": right[k], "interval": [right[k] - 0.006, right[k] + 0.005], "rate": at.rates[k],
             "threshold": at.thresholds[k] if k < count - 1 else None}
            for k in range(count)
        ],
        "accuracy": {"val": accuracy + 0.002, "test_before_export": accuracy, "test_exported": accuracy,
                     "interval": [accuracy - 0.0058, accuracy + 0.0055], "images": 10000},
        "worst_case_s": reach[-1], "expected_s": float(np.dot(at.rates, reach)),
        "parity": {
            "onnxruntime": {"max_difference": 2.86e-6, "disagreement": 0.0, "ok": True},
            "tvm": {"max_difference": 3.1e-6, "disagreement": 0.0, "ok": True},
            "tvm_rpc": {"skipped": "no RPC server was named"},
        },
        "tvm_s": 21.5 * reach[-1],
        "counts": {name: trial.metrics[name] for name in ("params", "macs", "weight_bytes", "peak_memory_bytes")},
        "energy_estimate_j": 4.2 * predicted, "energy_estimate_reason": "",
        "peak_memory_estimate_bytes": trial.metrics["peak_memory_bytes"] + trial.metrics["weight_bytes"],
        "attempts": [
            {"key": t.key, "purpose": "candidate", "predicted_s": latency(t),
             "measured_s": latency(t) * (1.0 if i else 1.09), "kept": i > 0}
            for i, t in enumerate(reversed(fitting[: 1 + number]))
        ],
        "files": ["manifest.json"], "_tried": [t.genome for t in fitting[1 : 1 + number]],
    }  # fmt: skip
