"""A board with an ARM processor keeps the laws of devices, in all but time: it is emulated, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware_profiles import Target
from hardware_profiles import load as load_profile
from nas.devices.board.addresses import Address
from nas.devices.board.connection import Connection
from nas.devices.board.device import Board
from nas.devices.local import InProcess
from nas.devices.runners import builder_for
from nas.testing import Law
from nas.testing.device import LAWS
from tests.boards.arm import Emulated
from tests.boards.faults import DESK, PROFILE, STREAM, alone, readings, tiny, verdicts
from tests.boards.test_arm import RUNNERS
from tests.nas.deploy.small_networks import random_inputs, random_weights, three_exits
from tests.nas.small_runs import Command, write

SAMPLES = 100
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def arm(emulated_arm: Emulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The emulated machine, started once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("kept")))
        alone(patch, tmp_path_factory.mktemp("locks"))
        made = Connection("rpi4b", Address(f"{emulated_arm.command} {emulated_arm.python}"))
        yield made
        made.close()


def target(runner: str) -> Target:
    """A Raspberry Pi's, which decides what TVM compiles for."""
    return Target("rpi4b", runner, threads=1)


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("runner", RUNNERS)
def test_it_keeps_the_laws(law: Law[Any], runner: str, arm: Connection) -> None:
    law(Board(target(runner), arm))


@pytest.mark.parametrize("runner", RUNNERS)
def test_samples_leave_as_here_and_answer_the_same(runner: str, arm: Connection, tmp_path: Path) -> None:
    network = three_exits(size=32)
    weights, images = random_weights(network), random_inputs(network, SAMPLES)
    here = builder_for(replace(target("onnxruntime"), device="host"), load_profile("host"))
    there = builder_for(target(runner), load_profile("rpi4b"))
    local = here.build(network, weights, tmp_path / "here")
    sent = there.build(network, weights, tmp_path / "there")
    (batch,) = images.values()
    samples = [sample[None] for sample in batch]
    host, board = InProcess(replace(target("onnxruntime"), device="host")), Board(target(runner), arm)
    with host.open({"all": local}) as session:
        every = [session.run_all("all", sample) for sample in samples]
    leaving = tuple(_third(every, k) for k in range(2))
    found = {}
    for name, device, artefact in (("here", host, local), ("there", board, sent)):
        with device.open({"all": replace(artefact, thresholds=leaving)}) as session:
            found[name] = [session.run("all", sample) for sample in samples]
            assert session.leaving("all", samples).tolist() == [exit_ for _, exit_ in found[name]]
    exits = {name: [exit_ for _, exit_ in each] for name, each in found.items()}
    assert exits["there"] == exits["here"] and set(exits["here"]) == {0, 1, 2}
    for (logits, _), (expected, _) in zip(found["there"], found["here"], strict=True):
        assert np.argmax(logits) == np.argmax(expected)
        assert np.abs(logits - expected).max() <= 1e-3 * np.abs(expected).max()


def _third(every: list[Any], k: int) -> float:
    """A confidence that about a third of samples have at an exit."""
    logits = np.concatenate([exits[k] for exits in every]).astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return float(np.quantile((shares / shares.sum(axis=1, keepdims=True)).max(axis=1), 0.67))


def test_its_times_become_no_verdict(emulated_arm: Emulated, nas: Command, own_settings: None, tmp_path: Path) -> None:
    at = f"{emulated_arm.command} {emulated_arm.python}"
    added = nas("devices", "add", "desk", "--at", at, "--profile", "rpi4b")
    assert added.code == 0 and "emulated by qemu-aarch64" in added.out
    profiled = nas("profile", "desk", *PROFILE)
    assert profiled.code == 0 and "not measurable: the processor is emulated by qemu-aarch64" in profiled.out
    done = nas("run", write(tmp_path, tiny(target=DESK, budgets=[{**STREAM, "latency": "9 s"}])), "--out", "run")
    assert done.code == 3, done
    assert "the processor is emulated by qemu-aarch64" in " ".join(done.out.split())
    assert all(verdict.within_budget is None for verdict in verdicts(tmp_path / "run").values())
    assert all('"refused":"the processor is emulated' in line for line in readings(tmp_path / "run", "desk"))
