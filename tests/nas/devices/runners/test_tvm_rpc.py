"""A server on this machine as if it were a board: round trips, and everything that can go wrong on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from nas.deploy.tvm import compiler
from nas.devices.runners.tvm_rpc import LocalServer, RpcError, Server, local_server
from nas.devices.timing.bounds import upper_95_s
from nas.devices.timing.plan import Plan

LONG = Plan(blocks=3, block_s=60.0, warm_up_s=0.0)


@pytest.fixture
def server(compiled: Any) -> Iterator[LocalServer]:
    with local_server() as running:
        yield running


def group(pid: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def gone(pid: int) -> bool:
    """Whether a process group is empty, at last: the system takes a moment to bury the dead."""
    for _ in range(100):
        if not group(pid):
            return True
        time.sleep(0.05)
    return False


def test_a_library_runs_there_as_here_and_again(compiled: Any, server: LocalServer) -> None:
    device = Server.of(server)
    for name in ("model.so", "model.so"):  # the second session would wait for the first, were that not closed
        outputs = device.run(compiled.folder / name, compiled.sample)
        for output, expected in zip(outputs, compiled.logits, strict=True):
            np.testing.assert_allclose(output, expected, rtol=1e-5, atol=2e-6)


def test_readings_come_from_the_devices_clock(compiled: Any, server: LocalServer) -> None:
    plan = Plan(blocks=3, block_s=0.01, warm_up_s=0.0)
    result = Server.of(server).time(compiled.folder / "model.so", compiled.sample, plan=plan)
    assert result.wall_s.shape[0] == 3
    assert (result.wall_s > 0).all()
    assert np.isnan(result.cpu_s).all()
    assert not result.contended
    assert upper_95_s(result) >= result.median_s


def test_a_refused_library_is_told_apart_from_a_lost_device(compiled: Any, server: LocalServer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    with pytest.raises(RpcError, match=r"loading broken\.so .* cannot load this library"):
        Server.of(server).run(broken, compiled.sample)
    with pytest.raises(RpcError, match="running the library"):
        Server.of(server).run(compiled.folder / "model.so", compiled.sample[:, :, 1:])
    assert Server.of(server).run(compiled.folder / "model.so", compiled.sample)


def test_another_key_is_refused(compiled: Any, server: LocalServer) -> None:
    with pytest.raises(RpcError, match=r"connecting .* another key"):
        Server("127.0.0.1", server.port, "guess", 10.0).run(compiled.folder / "model.so", compiled.sample)


def test_a_server_killed_while_it_measures_is_an_error_at_once(compiled: Any, server: LocalServer) -> None:
    timer = threading.Timer(0.5, lambda: os.killpg(server.process.pid, signal.SIGKILL))
    timer.start()
    with pytest.raises(RpcError, match=r"timing the library .* the server went away"):
        Server.of(server, 60.0).time(compiled.folder / "model.so", compiled.sample, plan=LONG)
    timer.join()
    with pytest.raises(RpcError, match=r"connecting .* nothing listens there"):
        Server.of(server).run(compiled.folder / "model.so", compiled.sample)


def test_a_job_that_takes_too_long_ends_and_so_does_the_server(compiled: Any, server: LocalServer) -> None:
    with pytest.raises(RpcError, match=r"timing the library .* not done after 1 s"):
        Server.of(server, 1.0).time(compiled.folder / "model.so", compiled.sample, plan=LONG)
    assert gone(server.process.pid)


def test_a_server_that_does_not_answer_is_not_waited_for(compiled: Any) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        device = Server("127.0.0.1", deaf.getsockname()[1], "", 0.5)
        with pytest.raises(RpcError, match=r"connecting .* not done after 0\.5 s; a server serves one session"):
            device.run(compiled.folder / "model.so", compiled.sample)


def test_nothing_is_left_behind(compiled: Any) -> None:
    with local_server() as running:
        Server.of(running).run(compiled.folder / "model.so", compiled.sample)
        pid = running.process.pid
        folder = Path(running.folder)
        assert folder.is_dir()
        assert group(pid)
    assert gone(pid)
    assert not folder.exists()


def test_the_server_ends_with_the_process_that_started_it(compiled: Any) -> None:
    code = """if True:
        import os, sys, time
        from nas.devices.runners.tvm_rpc import local_server
        with local_server() as running:
            print(running.process.pid, running.folder, flush=True)
            time.sleep(60)
    """
    root = Path(__file__).parents[4]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert group(int(pid))
        parent.kill()
    assert gone(int(pid))
    assert not Path(folder).exists()


def test_a_library_that_crashes_takes_its_server_with_it(compiled: Any, server: LocalServer, tmp_path: Path) -> None:
    """The process of the session dies; the server would live on, but never listen again."""
    source = tmp_path / "crash.cc"
    source.write_text("#include <cstdlib>\n__attribute__((constructor)) void crash() { std::abort(); }\n")
    compiler().link(str(tmp_path / "crash.so"), [str(source)])
    with pytest.raises(RpcError, match=r"loading crash\.so .* the server went away"):
        Server.of(server).run(tmp_path / "crash.so", compiled.sample)
    assert gone(server.process.pid)
