"""What is said of devices that nothing was measured on, before a run and where nothing fits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from latency_models.base import ErrorBar
from latency_models.sheets import table
from nas.config.units import parse_quantity
from nas.run.latency import UNMEASURED_SAFETY_MARGIN, safety_margin_of
from tests.nas.devices.test_family import store
from tests.nas.small_runs import Command, small, write

DEVICES = {"rpi4b": "arm cpu", "xeon_gold_6226": "x86 cpu", "jetson_orin_nano_8gb": "gpu"}
TIME = r"([\d.]+ [um]?s)"
SAID = rf"{TIME}; 90 %: {TIME} to {TIME}; (.+) likely within the budget"


def away(device: str, latency: str = "1 s", **sections: Any) -> dict[str, Any]:
    """The small experiment for a device elsewhere, with one budget."""
    target = {"device": device, "runner": "onnxruntime"}
    return small(target=target, budgets=[{"name": "far", "latency": latency}], **sections)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("latency", "likely"), [("10 s", "more than 99 %"), ("1 ns", "less than 1 %")])
def test_a_check_says_how_sure_the_prediction_of_a_device_is(
    nas: Command, tmp_path: Path, device: str, latency: str, likely: str
) -> None:
    done = nas("check", write(tmp_path, away(device, latency)))
    assert done.code == 0 and f"far: nothing was measured on {device}" in done.out
    assert f"those of {table()['roofline'][DEVICES[device]].devices} other devices" in done.out
    found = re.search(SAID, done.out)
    assert found is not None and found[4] == likely
    middle, low, high = (parse_quantity(text, "s") for text in found.group(1, 2, 3))
    assert 1.25 < middle / low == pytest.approx(high / middle, rel=0.02), "wider than the 25 % of before"


@pytest.mark.parametrize("device", ["host", "bench"])
def test_a_check_says_nothing_of_devices_that_are_measured(nas: Command, tmp_path: Path, device: str) -> None:
    store(tmp_path / "hardware_profiles", "bench", 3, profile={"aliases": ()})
    done = nas("check", write(tmp_path, small(target={"device": device, "runner": "onnxruntime"})))
    assert done.code == 0 and "nothing was measured" not in done.out


@pytest.mark.parametrize("device", DEVICES)
def test_that_nothing_fits_is_said_with_how_sure_it_is(nas: Command, tmp_path: Path, device: str) -> None:
    done = nas("search", write(tmp_path, away(device, "1 ns")), "--out", "run")
    assert done.code == 3 and "nothing fits" in done.err
    found = re.search(rf"needs {TIME} \(predicted, 90 %: {TIME} to {TIME}; nothing was measured there\)", done.err)
    assert found is not None, done.err
    needed, low, high = (parse_quantity(text, "s") for text in found.groups())
    assert 1.25 < needed / low == pytest.approx(high / needed, rel=0.02)
    assert "is predicted by its profile and by how far those of" in done.out


def test_same_family_devices_that_were_measured_come_before_the_class(nas: Command, tmp_path: Path) -> None:
    """The cousin takes twice its corrected sheet, and the new device is no more certain than one of its class."""
    store(tmp_path / "hardware_profiles", "cousin", 10, profile={"aliases": ()})
    path = write(tmp_path, away("rpi4b"))
    told = nas("check", path).out
    (tmp_path / "hardware_profiles" / "cousin.yaml").unlink()
    alone = nas("check", path).out
    assert "by how far that of one other device is off" in told and "those of 5 other devices are off" in alone
    found = [re.search(SAID, out) for out in (told, alone)]
    (middle, low), (before, low_before) = ([parse_quantity(t, "s") for t in f.group(1, 2)] for f in found if f)
    assert middle == pytest.approx(2 * before, rel=0.2) and middle / low == pytest.approx(before / low_before, rel=0.02)


@pytest.mark.parametrize(
    ("error", "margin"),
    [
        (ErrorBar(0.04, 10), 0.04),
        (ErrorBar(0.0, 15625), 0.0),
        # The median is what counts; it is corrected.
        (ErrorBar(0.9, 0, 5), 0.0),
        (ErrorBar(0.3, 0), UNMEASURED_SAFETY_MARGIN),
    ],
)
def test_what_a_search_allows_for_comes_from_networks_or_from_other_devices(error: ErrorBar, margin: float) -> None:
    assert safety_margin_of(error) == margin
