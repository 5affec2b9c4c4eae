"""A device that is lost is done without, by whatever name it is meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hardware_profiles import Target
from hardware_profiles import load as load_profile
from nas.devices.base import DeviceLost
from nas.process.events import Event, Voice
from nas.process.files import append_jsonl, read_jsonl
from nas.run.context import Context
from nas.stages import calibrate
from tests.nas.opened_runs import HERE, opened, rewind


class Gone:
    """A device that never answers, known by the name that it was added by."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def open(self, artefacts: Any) -> Any:
        raise DeviceLost("rpi4b", "is gone")


@pytest.mark.parametrize("spelled", ["rpi4b", "rpi-4b", "Raspi4", "folder/rpi4b.yaml"])
def test_work_is_begun_again_without_it_once(run: Path, spelled: str) -> None:
    said: list[str] = []
    target = Target(spelled, "onnxruntime")

    def watch(event: Event) -> None:
        said.append(event.text)

    def work(context: Context) -> str:
        device = context.device(target)
        if device is None:
            return "without it"
        with device.open({}):
            return "with it"

    with opened(run) as found:
        context = replace(
            found,
            profiles={**found.profiles, spelled: load_profile("rpi4b")},
            devices=lambda target, profile, plugins: Gone(target),
            voice=Voice(watch),
        )
        assert context.with_devices(lambda: work(context)) == "without it"
        assert context.why_lost(target) == "is gone" and context.why_lost(HERE) is None
    assert len(said) == 1 and "rpi4b is gone" in said[0]


@pytest.mark.parametrize(("to", "anew"), [("supernet", True), ("search", False), ("done", True)])
def test_a_search_that_has_begun_keeps_what_its_networks_were_drawn_by(run: Path, to: str, anew: bool) -> None:
    """A reading is missing, as of a device that was lost: it is taken before the search begins, or after it ended."""
    if to == "supernet":
        rewind(run, to)
    if to == "search":
        (run / "front.json").unlink()
    rows = list(read_jsonl(run / "measurements.jsonl"))
    calibration = next(row for row in rows if row["purpose"] == "calibration")
    (run / "measurements.jsonl").unlink()
    append_jsonl(run / "measurements.jsonl", [row for row in rows if row is not calibration])
    with opened(run) as context:
        assert calibrate._came_back(context, HERE) == anew
