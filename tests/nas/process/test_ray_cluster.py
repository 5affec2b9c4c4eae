"""Addresses of Ray clusters, and one process that uses several after one another; what else needs Ray is tried with
sweeps.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from nas.errors import InputError
from nas.process import machine, ray_cluster, ray_folder
from tests.documents import ROOT
from tests.nas.search.executors.tasks import is_alive
from tests.nas.sweep.ray_clusters import cluster, descendants


@pytest.mark.parametrize("address", ["..:6379", "x..y:80", f"{'a' * 70}:80"])
def test_what_names_no_machine_is_not_there(address: str) -> None:
    with pytest.raises(InputError, match=r"is not there .*start it, give the address of one that runs"):
        ray_cluster._require_listening(address)


def variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


@pytest.mark.parametrize("needed", [None, {"RAY_AUTH_TOKEN": "b" * 64, "RAY_worker_niceness": "0"}])
def test_a_cluster_that_is_refused_leaves_the_environment_as_it_was(
    needed: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the token and the addresses of one are not taken to another."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setattr(ray_cluster, "_LISTENS_WITHIN_S", 0.1)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    before = variables()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        with pytest.raises(InputError, match="is not there"):
            ray_cluster.connected(f"127.0.0.1:{taken.getsockname()[1]}", needed)
    assert variables() == before


#: Comes to clusters one after the other, as its arguments say, and prints how many cores each has, or why it has none.
ONE_AFTER_ANOTHER = """
import json, os, sys
from nas.errors import InputError
from nas.process.ray_alone import alone
from nas.process.ray_cluster import connected

address, token, *steps = sys.argv[1:]

def variables():
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_") and name != "RAY_CLIENT_MODE"}

def come(step):
    match step:
        case "joined":
            return connected(address, {"RAY_AUTH_TOKEN": token})
        case "refused":
            return connected(address, {"RAY_AUTH_TOKEN": "f" * 64})
        case "alone":
            return connected(alone().address, alone().needed)
        case "begun":
            return connected(None)

for step in steps:
    if step == "loaded":
        import ray
        continue
    before = variables()
    try:
        cluster = come(step)
    except InputError as error:
        found = str(error)
    else:
        found = sum(node.resources["CPU"] for node in cluster.nodes())
        cluster.close()
    print(json.dumps([step, found, variables() == before]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install hwnas[ray]")
def test_a_process_uses_one_cluster_after_another(tmp_path: Path) -> None:
    """Those that run and those that it begins, also where Ray was loaded before it knew of a token."""
    steps = ["loaded", "alone", "joined", "refused", "begun", "joined", "refused", "alone"]
    before = set(machine.FOLDER.glob("nas-ray-*"))
    with cluster(1) as rays:
        done = subprocess.run(
            [sys.executable, "-c", ONE_AFTER_ANOTHER, rays.address, rays.token, *steps], check=False, cwd=tmp_path,
            capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step for step, _, _ in said] == steps[1:]
    cores = float(len(os.sched_getaffinity(0)))
    for step, found, restored in said:
        assert restored, f"{step} left something in the environment"
        if step == "refused":
            assert "refuses the token: set RAY_AUTH_TOKEN" in found
        else:
            assert found == (1.0 if step == "joined" else cores), (step, found)
    assert not set(machine.FOLDER.glob("nas-ray-*")) - before


#: Begins a cluster as a sweep does, or as a run's executor does, with a task that would take long, and waits.
BEGINS = """
import sys, time
from nas.process.ray_alone import alone
from nas.process.ray_cluster import connected

cluster = connected(None) if sys.argv[1] == "begun" else connected(alone().address, alone().needed)
import ray

running = ray.remote(lambda: time.sleep(600)).remote()
ray.wait([running], timeout=2)
print("there", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install hwnas[ray]")
@pytest.mark.parametrize("how", ["begun", "alone"])
def test_a_killed_command_leaves_nothing_that_computes(how: str, tmp_path: Path) -> None:
    """And its folder goes with the next one."""
    before = set(machine.FOLDER.glob("nas-ray-*"))
    process = subprocess.Popen(
        [sys.executable, "-c", BEGINS, how], stdout=subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == b"there\n"
    begun = descendants(process.pid)
    assert len(begun) > 2
    process.kill()
    process.communicate()
    end = time.monotonic() + 60
    # Two agents of Ray look for their parent for a minute, and do nothing else.
    while left := [number for number in begun if is_alive(number) and not is_agent(number)]:
        assert time.monotonic() < end, left
        time.sleep(0.2)
    ray_folder.taken()[1]()
    assert not set(machine.FOLDER.glob("nas-ray-*")) - before


def is_agent(process: int) -> bool:
    with contextlib.suppress(OSError):
        return b"Agent" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False
