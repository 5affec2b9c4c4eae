"""The campaign behind benchmarks/host_latency.py on an invented machine: what it reports, and that it continues."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hardware_profiles import Target, load
from latency_models import mlp
from latency_models.roofline import Roofline
from nas.devices.measurement import ExitTime, Measurement
from search_spaces.ir import Network

ROOT = Path(__file__).parents[1]
ARGUMENTS = ["--tables", "8x8", "--test", "14", "--many", "30", "--passes", "2", "--seeds", "2", "--mlp-seeds", "1"]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, on a machine that takes twice the roofline's seconds, with 2 % of noise, and counts its networks."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import host_campaign
    import host_latency

    model, rng = Roofline(load("rpi4b"), Target("host", "onnxruntime")), np.random.default_rng(0)

    def timed(space: Any, genomes: Any, *rest: Any) -> tuple[Measurement, ...]:
        host_campaign.taken += len(genomes)
        rows = []
        for genome in genomes:
            network = space.decode(genome)
            reach = 2 * model.predict([network]).cumulative_s()[0] * rng.normal(1, 0.02)
            exits = tuple(ExitTime(seconds, seconds, wall_s=(seconds,)) for seconds in reach.tolist())
            rows.append(
                Measurement(
                    purpose="calibration",
                    target=host_campaign.TARGET.key,
                    genome=tuple(map(int, genome)),
                    key=network.key,
                    exits=exits,
                )
            )
        return tuple(rows)

    def kernel_seconds(networks: list[Network], target: Target) -> list[float]:
        host_campaign.taken += len(networks)
        return [float(seconds) for seconds in model.body_s(networks)]

    monkeypatch.setattr(host_campaign, "taken", 0, raising=False)
    monkeypatch.setattr(host_campaign, "timed", timed)
    monkeypatch.setattr(host_campaign, "kernel_seconds", kernel_seconds)
    monkeypatch.setattr(host_campaign, "load", lambda name: load("rpi4b"))
    # The heap is told once per process, and not by a test.
    monkeypatch.setattr(host_latency, "keep_heap", lambda: None)
    monkeypatch.setattr(host_latency, "SEARCHED", 5000)
    monkeypatch.setattr(mlp, "_STEPS", 200)
    yield host_latency
    for name in ("host_campaign", "host_latency"):
        sys.modules.pop(name)


def run(script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], int]:
    """The JSON of one run, and how many networks and kernels were measured for it."""
    script.campaign_.taken = 0
    files = ["--measurements", str(folder / "campaign.jsonl"), "--json", str(folder / "out.json")]
    monkeypatch.setattr(sys, "argv", ["host_latency.py", *ARGUMENTS, *files])
    script.main()
    return json.loads((folder / "out.json").read_text()), script.campaign_.taken


def test_it_reports_every_method_and_measures_nothing_twice(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, taken = run(benchmark, tmp_path, monkeypatch)
    assert taken > 100
    rows = {row["method"]: row for row in first["rows"]}
    assert list(rows) == [
        "flops", "roofline, plain", "roofline, calibrated", "look-up, as measured", "look-up, with terms",
        "additive, 500", "perceptron, 500", "winners of a search",
    ]  # fmt: skip
    calibrated = rows["roofline, calibrated"]
    assert calibrated["within_10"] > 0.9 and calibrated["samples"] == 10 and calibrated["test"] == 14
    assert rows["roofline, plain"]["within_10"] < 0.1, "half of what is measured"
    assert rows["look-up, with terms"]["within_10"] > 0.9
    assert 0 <= rows["winners of a search"]["over_budget"] <= 1

    again, taken = run(benchmark, tmp_path, monkeypatch)
    assert taken == 0 and again["rows"] == first["rows"]
    # Killed while a line was written, in the middle of it all.
    path = tmp_path / "campaign.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]) + lines[-1][:20])
    _, taken = run(benchmark, tmp_path, monkeypatch)
    assert 0 < taken < len(lines)
