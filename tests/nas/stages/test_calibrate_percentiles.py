"""Calibrate: single calls are timed where a budget is about them, once, and else said to be unknown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hardware_profiles import Target
from nas.config.budget import Budget
from nas.devices.measurement import ExitTime, Measurement
from nas.devices.timing.plan import SinglePlan
from nas.process.files import read_jsonl
from nas.run.layout import RunFiles
from nas.stages.calibrate import _learn_tail
from search_spaces.toy import toy

TARGET = Target("host", "onnxruntime")
P95, P99, DUTY = (Budget(8e-3, "p95", "p95"), Budget(8e-3, "p99", "p99"), Budget(8e-3, "p99", "duty", every_s=33e-3))


class World:
    """As much of a run as calibration needs of one; `asked` has the plans of what was timed."""

    def __init__(self, folder: Path, here: bool = True, networks: int = 12, refused: str = "") -> None:
        self.space, self.refused = toy((1, 8, 8), 4), refused
        self.experiment = SimpleNamespace(
            target_of=lambda budget: TARGET, targets=(TARGET,), calibration=SimpleNamespace(networks=networks)
        )
        self.files = RunFiles(folder)
        self.warnings: list[str] = []
        self.asked: list[tuple[int, SinglePlan]] = []
        self.voice = SimpleNamespace(warning=self.warnings.append, doing=lambda text: self)
        self.here = here

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def device(self, target: Target) -> Any:
        return self if self.here else None

    def untrained(self, target: Target, purpose: str) -> Any:
        return SimpleNamespace(on=lambda device: self)

    def seed(self, *_: str) -> int:
        return 0

    def time(self, genomes: Any, purpose: Any, single: SinglePlan) -> list[Measurement]:
        self.asked.append((len(genomes), single))
        last = ExitTime(
            1e-3, 1.1e-3, p95_s=2e-3, p99_s=3e-3, calls=900, every_s=single.every_s, single_refused=self.refused
        )
        return [
            Measurement(
                purpose=purpose,
                target=TARGET.key,
                genome=tuple(map(int, genome)),
                key=self.space.decode(genome).key,
                exits=(last,),
            )
            for genome in genomes
        ]

    def learn(self, *budgets: Budget) -> None:
        context: Any = self
        for budget in budgets:
            _learn_tail(context, budget)


def test_few_networks_are_timed_once_for_each_duty_cycle(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.learn(P95, P99, DUTY)
    world.learn(P95, P99, DUTY)
    assert [(n, plan.every_s) for n, plan in world.asked] == [(3, None), (3, 33e-3)] and not world.warnings
    assert {row["purpose"] for row in read_jsonl(world.files.measurements)} == {"single_calls"}


@pytest.mark.parametrize("budget", [P95, P99, DUTY], ids=lambda budget: budget.name)
def test_it_takes_less_than_a_minute(tmp_path: Path, budget: Budget) -> None:
    world = World(tmp_path)
    world.learn(budget)
    ((networks, plan),) = world.asked
    for per_call in (1e-4, 8e-3, 0.2):
        assert networks * plan.blocks * plan.size(per_call) * max(per_call, plan.every_s or 0) < 60
    assert plan.blocks * plan.size(1e-4) >= 300


@pytest.mark.parametrize("kind", [{"here": False}, {"networks": 0}], ids=str)
def test_where_nothing_is_timed_that_is_said(tmp_path: Path, kind: dict[str, Any]) -> None:
    world = World(tmp_path, **kind)
    world.learn(DUTY)
    assert not world.asked and "no single calls were timed on host" in world.warnings[0]


def test_where_the_machine_was_busy_that_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, refused="busy")
    world.learn(P99)
    assert "the machine was busy while single calls were timed" in world.warnings[0]
