"""Detecting this machine, and keeping what was detected."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from hardware_profiles import load
from hardware_profiles.host import detect, differences, identity, is_here
from hardware_profiles.schema import parse


def test_the_host_is_measured_once() -> None:
    host = load("host")
    assert load("HOST") is host
    assert host.id == "host" and host.kind == "cpu" and host.name
    assert host.peak_flops_per_s["float32"].grade == "measured"
    assert host.bandwidth_bytes_per_s.grade == "measured"
    assert 1e8 < host.peak("float32", 1) <= host.peak("float32") < 1e14
    assert 1e8 < host.bandwidth(1) <= host.bandwidth() < 1e13
    assert host.cores.value >= 1 and host.memory_bytes.value > 2**28
    assert set(host.fusions) == {"conv_bn", "conv_activation", "conv_add"}
    assert host.tvm_target is not None and host.tvm_target["kind"] == "llvm"


def test_a_detected_profile_can_be_stored_as_json() -> None:
    host = detect(measure=False)
    assert host.peak_flops_per_s["float32"].grade == "derived"
    assert parse(json.loads(json.dumps(host.to_dict()))) == host


def test_every_number_of_the_host_has_a_source() -> None:
    host = detect(measure=False)
    assert all(host.citation(quantity) for _, quantity in host.quantities())


def test_cores_are_those_the_process_may_use() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("the system has no CPU affinity")
    assert int(detect(measure=False).cores) == len(os.sched_getaffinity(0))


def test_tvm_accepts_the_target_of_the_host() -> None:
    target = pytest.importorskip("tvm.target", reason="TVM is not installed").Target
    description = detect(measure=False).tvm_target
    assert description is not None
    assert target(dict(description)).kind.name == "llvm"


def test_this_machine_knows_itself_and_no_other() -> None:
    here = identity()
    assert identity() == here and {"name", "architecture", "cores"} <= set(here)
    profile = replace(detect(measure=False), id="bench")
    assert not is_here(profile), "a profile that names no machine is of none"
    assert is_here(replace(profile, machine=here)) and is_here(detect(measure=False))
    for key in here:
        other = {**here, key: "another"}
        assert not is_here(replace(profile, machine=other))
        assert differences(other) == (f"{key} is another, here {here[key]}",)
    kind = {key: value for key, value in here.items() if key != "id"}
    assert is_here(replace(profile, machine=kind)), "without an id, every machine of the kind is meant"


def test_the_identity_does_not_reveal_the_machine_id(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    monkeypatch.setattr("hardware_profiles.host._text", lambda path: secret if path == "/etc/machine-id" else "")
    found = identity()
    assert len(found["id"]) == 16 and found["id"] not in secret
    monkeypatch.setattr("hardware_profiles.host._text", lambda path: "")
    assert "id" not in identity()


def test_a_board_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    board = "Raspberry Pi 4 Model B Rev 1.4\0"
    monkeypatch.setattr("hardware_profiles.host._text", lambda path: board if path == "/proc/device-tree/model" else "")
    assert identity()["name"] == detect(measure=False).name == "Raspberry Pi 4 Model B Rev 1.4"


def test_the_identity_survives_a_file() -> None:
    profile = replace(detect(measure=False), id="bench", machine=identity())
    assert parse(json.loads(json.dumps(profile.to_dict()))) == profile


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, hardware_profiles; print({'numpy', 'yaml', 'scipy', 'tvm', 'jax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
