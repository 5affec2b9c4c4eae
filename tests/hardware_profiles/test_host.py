"""Detecting this machine, and keeping what was detected."""

import json
import os
import subprocess
import sys

import pytest

from hardware_profiles import DeviceProfile, load
from hardware_profiles.host import detect


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
    assert DeviceProfile.from_dict(json.loads(json.dumps(host.to_dict()))) == host


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


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, hardware_profiles; print({'numpy', 'yaml', 'scipy', 'tvm', 'jax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
