"""What a system shows of clocks, heat and power modes, where it shows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas.devices.system import Shown, Throttle, emulated, shown, throttle, throttled

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
JETSON = """
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MODE_15W >
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ("0", ""),
        ("50000", ""),
        ("50001", "the supply's voltage is too low"),
        ("2", "the firmware caps the clock"),
        ("0x4", "the firmware throttles the processor"),
        ("80008", "the firmware's soft temperature limit is reached"),
        ("nonsense", ""),
    ],
)
def test_a_raspberry_pi_says_why_it_is_slow_now_and_not_that_it_was(tmp_path: Path, bits: str, words: str) -> None:
    """The upper bits are of some time since it was switched on."""
    write(tmp_path / FIRMWARE, bits)
    assert throttled(tmp_path) == words


@pytest.mark.parametrize(
    ("kind", "state", "slowed"),
    [
        ("thermal-cpufreq-0", "2", True),
        ("Processor", "1", True),
        ("thermal-cpufreq-0", "0", False),
        ("pwm-fan", "3", False),
        ("intel_powerclamp", "-1", False),
    ],
)
def test_cooling_slows_down_but_for_fans(tmp_path: Path, kind: str, state: str, slowed: bool) -> None:
    write(tmp_path / "sys/class/thermal/cooling_device0/type", kind)
    write(tmp_path / "sys/class/thermal/cooling_device0/cur_state", state)
    assert bool(throttled(tmp_path)) == slowed


def test_a_counter_that_moved_says_that_it_was_slow_meanwhile(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    counter = tmp_path / f"sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count"
    write(counter, "7")
    before = throttle(tmp_path)
    assert before.events == 7 and not throttle(tmp_path).since(before)
    write(counter, "8")
    assert throttle(tmp_path).since(before)
    assert Throttle("hot").since(Throttle()) == "hot" == Throttle().since(Throttle("hot"))


@pytest.mark.parametrize(
    ("before", "after", "slowed"), [("0", "40000", True), ("40000", "40000", False), ("0", "0", False)]
)
def test_what_a_raspberry_pi_remembers_says_that_it_was_slow_between_two_looks(
    tmp_path: Path, before: str, after: str, slowed: bool
) -> None:
    write(tmp_path / FIRMWARE, before)
    first = throttle(tmp_path)
    write(tmp_path / FIRMWARE, after)
    assert bool(throttle(tmp_path).since(first)) == slowed


@pytest.mark.parametrize(("status", "mode"), [("pmode:0002", "MODE_15W"), ("pmode:0000", "MAXN"), ("pmode:0007", "7")])
def test_a_jetsons_power_mode_is_read_by_name(tmp_path: Path, status: str, mode: str) -> None:
    write(tmp_path / "var/lib/nvpmodel/status", status)
    write(tmp_path / "etc/nvpmodel.conf", JETSON)
    assert shown(tmp_path).power_mode == mode


def test_what_is_not_shown_is_not_known(tmp_path: Path) -> None:
    found = shown(tmp_path)
    assert found == Shown(load=found.load)


@pytest.mark.parametrize(
    ("process", "thread", "found"),
    [
        ("/usr/bin/python3.11", "/usr/bin/python3.11", ""),
        ("/usr/bin/python3.11", "/usr/bin/qemu-aarch64-static", "qemu-aarch64-static"),
        ("/usr/bin/python3.11", "/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "aarch64-binfmt-P"),
        ("/usr/bin/python3.11", None, ""),
        (None, None, ""),
    ],
)
def test_an_emulator_shows_itself_behind_the_thread(
    tmp_path: Path, process: str | None, thread: str | None, found: str
) -> None:
    for name, target in (("self", process), ("thread-self", thread)):
        if target is not None:
            (tmp_path / "proc" / name).mkdir(parents=True)
            (tmp_path / "proc" / name / "exe").symlink_to(target)
    assert emulated(tmp_path) == shown(tmp_path).emulated == found
