from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from nas.devices.conditions import Conditions
from nas.process.files import to_line


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_what_the_system_tells_is_read(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    for number, core in enumerate(cores):
        policy = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        write(policy / "scaling_governor", "performance")
        write(policy / "scaling_cur_freq", str(1_500_000 + 1000 * number))
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "48500")
    write(tmp_path / "sys/class/thermal/thermal_zone1/temp", "-1200")
    found = Conditions.now("onnxruntime 1.0", 2, root=tmp_path)
    assert found.governor == "performance" and found.temperature_c == 48.5
    assert found.clock_hz == (1.5e9, 1.5e9 + 1e6 * (len(cores) - 1))
    assert (found.runtime, found.threads) == ("onnxruntime 1.0", 2)
    assert {"python", "numpy", "onnxruntime"} <= set(found.versions)


def test_different_governors_are_all_named(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    for core, governor in zip(cores, ("schedutil", *["performance"] * len(cores)), strict=False):
        write(tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", governor)
    expected = "schedutil" if len(cores) == 1 else "performance, schedutil"
    assert Conditions.now("tvm 0", 1, root=tmp_path).governor == expected


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "broken")
    found = Conditions.now("tvm 0", 1, root=tmp_path)
    assert (found.governor, found.clock_hz, found.temperature_c) == (None, None, None)


def test_conditions_survive_a_line_of_json(tmp_path: Path) -> None:
    for found in (
        Conditions.now("tvm 0", 1, root=tmp_path),
        Conditions("tvm 0", 1, "performance", (1e9, 2e9), 40.0, 0.5),
    ):
        assert Conditions.from_dict(json.loads(to_line(asdict(found)))) == found
