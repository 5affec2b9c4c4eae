"""Where cells run, as a sweep's file and the command say it, and what is said where they cannot run there."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, get_args

import pytest

from nas.cli import sweeps
from nas.errors import InputError
from nas.process import ray_cluster
from nas.process.facts import cores_used
from nas.process.lock import locked
from nas.process.ray_cluster import Node
from nas.process.release import VERSION
from nas.run.layout import RunFiles
from nas.run.progress import progress_of
from nas.sweep import executor, folder, ray_node
from nas.sweep.executor import Executor, chosen
from nas.sweep.layout import SweepFiles
from nas.sweep.ray_node import FROM_DRIVER, Order, Probe, look
from nas.sweep.sweep_file import load
from tests.documents import blocks, write_files
from tests.nas.small_runs import Command, hashes
from tests.nas.sweep.pretended import begun
from tests.nas.sweep.small_sweeps import HOPELESS, write_sweep


def test_the_command_knows_the_executors_that_there_are() -> None:
    assert get_args(executor.Name) == sweeps.EXECUTORS


def test_a_file_says_where_cells_run_and_the_command_may_say_otherwise(tmp_path: Path) -> None:
    assert load(write_sweep(tmp_path, {"seed": [0]})).executor == Executor()
    written = {"name": "ray", "address": "head:6379", "resources": {"cpus": 2, "board": 1}, "max_failures": 0}
    found = load(write_sweep(tmp_path, {"seed": [0]}, executor=written)).executor
    assert found.demand == {"CPU": 2, "board": 1} and found.max_failures == 0
    assert chosen(found, None, None, None) == found
    assert chosen(found, None, None, "auto").address == "auto"
    assert chosen(found, "local", 3, None).workers == 3
    assert Executor().demand == {"CPU": 1}
    assert Executor(resources={"gpus": 1}).demand == {"CPU": 1, "GPU": 1}


@pytest.mark.parametrize(
    ("written", "options", "message"),
    [
        ({"name": "slurm"}, (), "executor.name: input should be 'local' or 'ray', got 'slurm'"),
        ({"resource": {}}, (), "did you mean 'resources'?"),
        ({"resources": {"cpus": 0}}, (), "executor.resources.cpus is 0; it must be at least 1"),
        ({"resources": {"gpus": -1}}, (), "executor.resources.gpus is -1; it must be at least 0"),
        ({"resources": {"cpus": 1.5}}, (), "executor.resources"),
        ({"resources": {"CPU": 2}}, (), "write `cpus`"),
        ({"resources": {"memory": 2}}, (), "write cpus, gpus, or a name of your own"),
        ({"resources": {"node:10.0.0.1": 1}}, (), "'node:10.0.0.1' cannot be asked for by that name"),
        ({"max_failures": -1}, (), "executor.max_failures is -1; it must be from 0 to 100"),
        ({"workers": 99999}, (), "--workers is 99999"),
        ({}, ("--executor", "ray", "--workers", "2"), "--workers is 2, and on a Ray cluster as many cells run as"),
        ({"name": "ray"}, ("--workers", "2"), "--workers is 2"),
        ({}, ("--address", "auto"), "--address is 'auto', which is for Ray; give --executor ray too"),
        ({"name": "ray"}, ("--executor", "local", "--address", "auto"), "which is for Ray"),
    ],
)
def test_what_an_executor_cannot_mean_is_refused(
    written: Any, options: tuple[str, ...], message: str, nas: Command, tmp_path: Path
) -> None:
    path = write_sweep(tmp_path, {"seed": [0]}, HOPELESS, executor=written)
    before = hashes(tmp_path)
    assert message in nas("sweep", str(path), "--out", "out", *options).error
    assert hashes(tmp_path) == before and not Path("out").exists()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray is found, whether or not it is installed, and no token is."""
    _found(monkeypatch, ModuleSpec("ray", None))
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def _found(monkeypatch: pytest.MonkeyPatch, spec: ModuleSpec | None) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: spec if name == "ray" else find(name, *rest))


def refused(nas: Command, tmp_path: Path, *options: str) -> str:
    """The message of a sweep that is not begun, after checking that nothing was written."""
    path = write_sweep(tmp_path, {"seed": [0]}, HOPELESS)
    before = hashes(tmp_path)
    error = nas("sweep", str(path), "--out", "out", "--executor", "ray", *options).error
    assert hashes(tmp_path) == before and not Path("out").exists()
    return error


def test_without_the_extra_it_is_named(nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _found(monkeypatch, None)
    assert "pip install 'hwnas[ray]'" in refused(nas, tmp_path)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "address", ["head", "ray://head:10001", "head:0", "head:65536", "a b:1", ":6379", "head:6379/x"]
)
def test_an_address_that_is_none_is_refused(address: str, nas: Command, tmp_path: Path) -> None:
    message = f"the address of the Ray cluster is {address!r}; it must be auto, or such as 10.0.0.7:6379"
    assert message in refused(nas, tmp_path, "--address", address)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("address", ["auto", "127.0.0.1:6379"])
def test_a_cluster_is_used_with_a_token_only(
    address: str, nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "export RAY_AUTH_TOKEN=" in refused(nas, tmp_path, "--address", address)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "missing"))
    assert "and none is set" in refused(nas, tmp_path, "--address", address)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "RAY_AUTH_MODE is 'disabled': whoever reaches" in refused(nas, tmp_path, "--address", address)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("where", ["option", "environment", "file"])
def test_a_cluster_that_is_not_there_is_waited_for_and_then_named(
    where: str, nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ray_cluster._LISTENS_WITHIN_S == 10
    monkeypatch.setattr(ray_cluster, "_LISTENS_WITHIN_S", 0.3)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 32)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = ("--address", address) if where == "option" else ()
        if where == "environment":
            monkeypatch.setenv("RAY_ADDRESS", address)
        written = {"name": "ray", "address": address} if where == "file" else {}
        path = write_sweep(tmp_path, {"seed": [0]}, HOPELESS, executor=written)
        error = nas("sweep", str(path), "--out", "out", "--executor", "ray", *options).error
    assert f"the Ray cluster at {address} is not there (Connection refused): start it" in error
    assert not Path("out").exists()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", None])
def test_somebody_else_who_listens_there_is_told_from_ray(
    answer: bytes | None, nas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None: who listens says nothing."""
    monkeypatch.setattr(ray_cluster, "_LISTENS_WITHIN_S", 0.3)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 32)

    def serve() -> None:
        with contextlib.suppress(OSError):  # until it is closed
            while True:
                accepted.append(server.accept()[0])
                if answer is not None:
                    accepted[-1].sendall(answer)
                    accepted[-1].close()

    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert f"the Ray cluster at {address} is not there (" in refused(nas, tmp_path, "--address", address)
        server.shutdown(socket.SHUT_RDWR)
    for each in accepted:
        each.close()


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("RpcError: InvalidAuthToken: Authentication token is missing or incorrect", "refuses the token"),
        ("RuntimeError: No node info found matching attributes: ''", "does not have this machine among its own"),
        ("RuntimeError: Version mismatch: The cluster was started with: Ray: 2.50.0", "has another version of Ray"),
        ("Traceback\n  File x\n\nValueError: so it is\n", "cannot be used (ValueError: so it is)"),
        ("", "cannot be used (it says nothing)"),
    ],
)
def test_what_ray_says_becomes_a_sentence(said: str, meaning: str) -> None:
    assert ray_cluster._meaning(said).startswith(meaning)


def test_a_machine_has_room_for_as_many_cells_as_for_what_is_scarcest() -> None:
    node = Node("1", "a", {"CPU": 7.0, "GPU": 2.0, "board": 1.0})
    asked = [Executor(resources=resources).demand for resources in (
        {"cpus": 2}, {"cpus": 2, "gpus": 1}, {"board": 1}, {"cpus": 8}, {"other": 1}
    )]  # fmt: skip
    assert [node.room(demand) for demand in asked] == [3, 2, 1, 0, 0]


def probe(place: Path, **changed: Any) -> Probe:
    """What a machine is asked, with a folder as the driver leaves it."""
    place.mkdir(exist_ok=True)
    (place / FROM_DRIVER).write_text("token")
    return Probe(**{
        "folder": str(place), "token": "token", "working_directory": os.getcwd(), "version": VERSION, **changed
    })  # fmt: skip


def test_a_machine_that_sees_what_the_driver_sees_says_so_in_a_file(tmp_path: Path) -> None:
    assert look(probe(tmp_path / "probe"), "node") == ""
    assert (tmp_path / "probe" / "node").read_text() == "token"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"folder": "/nowhere/at/all"}, "does not see /nowhere/at as this one does (No such file or directory)"),
        ({"token": "another"}, "has another folder"),
        ({"working_directory": "/nowhere"}, "has no folder /nowhere, which relative paths of experiments start from"),
        ({"version": "0.0.1"}, f"has hwnas {VERSION}, and this one 0.0.1"),
    ],
)
def test_a_machine_that_sees_something_else_is_told_of(changed: Any, message: str, tmp_path: Path) -> None:
    assert message in look(probe(tmp_path / "probe", **changed), "node")
    assert not (tmp_path / "probe" / "node").exists() or "working_directory" in changed


def test_a_machine_that_cannot_write_is_told_of(tmp_path: Path) -> None:
    """Root may write anywhere but where there is no folder."""
    asked = probe(tmp_path / "probe")
    assert "cannot write and lock files in" in look(asked, f"{FROM_DRIVER}/node")


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    """A cell that ends at once, since nothing fits; on all cores, since libraries would keep to fewer afterwards."""
    monkeypatch.setattr(ray_node, "_limit", lambda order: None)  # it would be so for all tests that follow
    monkeypatch.chdir(tmp_path)
    files, cells = begun(write_sweep(tmp_path, {"seed": [0]}, HOPELESS), tmp_path / "out")
    folder.begin(files, cells[0], None)
    place = (str(_cell(files).root), str(tmp_path), cells[0].cell.experiment.plugins)
    return Order("seed-0", *place, len(cores_used()), 0)


def _cell(files: SweepFiles) -> RunFiles:
    return files.cell("seed-0")


def test_a_cell_runs_to_its_end_and_not_a_second_time(order: Order) -> None:
    files = RunFiles(Path(order.folder))
    assert ray_node.run(order) == ""
    assert progress_of(files).ended and "nothing fits" in files.output.read_text()
    before = hashes(files.root)
    assert ray_node.run(order) == "" and hashes(files.root).items() >= {
        name: digest for name, digest in before.items() if name != ".lock"
    }.items()  # fmt: skip


def test_a_cell_waits_for_who_has_its_folder(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a process of a machine that was cut off; who has it for too long is named."""
    files = RunFiles(Path(order.folder))
    held = locked(files.root)
    held.__enter__()
    monkeypatch.setattr(ray_node, "_FREE_WITHIN_S", 0.1)
    monkeypatch.setattr(ray_node, "_POLL_S", 0.02)
    assert f"{files.root} is in use by process {os.getpid()}" in ray_node.run(order)
    monkeypatch.setattr(ray_node, "_FREE_WITHIN_S", 60)
    timer = threading.Timer(0.3, held.__exit__, (None, None, None))
    timer.start()
    assert ray_node.run(order) == ""
    timer.join()


def test_a_machine_without_the_folder_says_so(order: Order) -> None:
    files = RunFiles(Path(order.folder))
    files.experiment.unlink()
    assert f"does not see {files.experiment}" in ray_node.run(order)


def test_a_cell_that_cannot_go_on_says_why(order: Order) -> None:
    files = RunFiles(Path(order.folder))
    files.experiment.write_text("name: broken\n")
    assert "is missing" in ray_node.run(order)
    assert "error: " in files.output.read_text()


def test_messages_of_bad_settings_are_input_errors() -> None:
    with pytest.raises(InputError, match=r"executor\.resources\.cpus is 0"):
        Executor(resources={"cpus": 0})


@pytest.mark.parametrize("page", ["sweep.md", "cluster.md"])
def test_the_sweeps_that_the_pages_show_are_read(page: str, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    (experiment,) = [block for block in blocks("yaml") if block.page.name == "README.md"]
    (tmp_path / "door_camera.yaml").write_text(experiment.text)
    shown = [load(path) for path in sorted(tmp_path.glob("my_*.yaml"))]
    assert len(shown) >= 2 and all(
        sweep.executor.name == ("ray" if page == "cluster.md" else "local") for sweep in shown
    )
