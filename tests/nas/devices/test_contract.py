"""Every device keeps the laws: this process, the server on the loopback interface, and what was recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import Target
from nas.deploy.tvm import available, compiler
from nas.devices.base import Device, Wanted
from nas.devices.board.addresses import Address
from nas.devices.board.connection import Connection
from nas.devices.board.device import Board
from nas.devices.local import InProcess
from nas.devices.loopback import Loopback
from nas.devices.measurement import ExitTime, Measurement
from nas.devices.replay import Recording
from nas.devices.timing.plan import SinglePlan
from nas.process.files import append_jsonl
from nas.testing import Law, deployed
from nas.testing.device import LAWS, PLAN, _open

HERE = Target("host", "onnxruntime")
TVM = Target("host", "tvm")
needs_tvm = pytest.mark.skipif(not available()[0] or compiler().command is None, reason="TVM or a compiler is missing")


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_this_process(law: Law[Any], batch: int) -> None:
    law(InProcess(replace(HERE, batch=batch)))


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_board_over_a_pipe(law: Law[Any], batch: int, board: Connection) -> None:
    law(Board(replace(HERE, batch=batch), board))


@pytest.mark.parametrize(
    ("stream", "seed", "every_s"), [(False, None, None), (True, None, None), (False, 3, None), (False, 3, 1e-3)]
)
def test_single_calls_are_told_from_a_board_as_from_here(
    board: Connection, stream: bool, seed: int | None, every_s: float | None
) -> None:
    """With a seed they are over a stream that is drawn, and there is its mean too."""
    wanted = Wanted("two exits", (1,), 2, None, stream, SinglePlan(calls=7, every_s=every_s, seed=seed))
    for device in (InProcess(HERE), Board(HERE, board)):
        with _open(device, 0.0) as (session, _):
            times = session.time([wanted], [sample[None] for sample in deployed.samples()], PLAN)["two exits"]
        told = times.stream if wanted.leaves else times.to_exits[-1]
        assert told is not None and told.calls == 3 * 7 and times.single_s
        assert told.every_s == every_s and (times.stream is None) == (not wanted.leaves)
        assert not wanted.leaves or (told.median_s > 0 and times.to_exits[-1].calls == 0)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A Python of its own, started as a board's is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("kept")))
        made = Connection("pi4", Address(sys.executable))
        yield made
        made.close()


@needs_tvm
@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("make", [InProcess, Loopback])
def test_tvm(law: Law[Any], make: Any) -> None:
    law(make(TVM))


@needs_tvm
@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_tvm_on_a_board(law: Law[Any], board: Connection) -> None:
    law(Board(TVM, board))


@needs_tvm
def test_a_server_on_the_loopback_interface(request: pytest.FixtureRequest) -> None:
    """The quick ones of the laws above."""
    for law in LAWS[:1]:
        law(Loopback(TVM))


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_a_recording(law: Law[Any], tmp_path: Path) -> None:
    """Whose networks take a millisecond to each exit."""
    rows = [
        Measurement(
            purpose="winner",
            target=HERE.key,
            genome=(number,),
            key=name,
            exits=tuple(ExitTime(1e-3 * (k + 1), 1.1e-3 * (k + 1)) for k in range(len(network.exits))),
            stream=ExitTime(1e-3, 1.1e-3),
        )
        for number, (name, network) in enumerate(deployed.networks().items())
    ]
    append_jsonl(tmp_path / "measurements.jsonl", [row.to_dict() for row in rows])
    device = Recording(tmp_path / "measurements.jsonl").device(HERE, deployed.profile())
    assert device is not None
    law(device)


def test_a_device_that_answers_otherwise_breaks_the_law() -> None:
    """The laws can fail."""
    from nas.devices.local import InProcessSession
    from nas.testing import BrokenLaw

    class Wrong(InProcessSession):
        def run_all(self, name: str, batch: Any) -> Any:
            return [2 * logits for logits in super().run_all(name, batch)]

        def time(self, *arguments: Any, **named: Any) -> Any:
            return {}

    class There(InProcess):
        def open(self, artefacts: Any) -> Any:
            from contextlib import nullcontext

            from nas.devices.runners import runner_for

            return nullcontext(Wrong(runner_for(self.target), artefacts))

    device: Device = There(HERE)
    broken = []
    for law in LAWS:
        try:
            law(device)
        except (BrokenLaw, KeyError) as error:
            broken.append((law.name, str(error)))
    assert [name for name, _ in broken][:1] == ["answers_are_those_of_the_network"]
    assert "seconds_are_told_for_every_exit" in dict(broken)
