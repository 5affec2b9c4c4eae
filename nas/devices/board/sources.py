"""Which of our files a board is sent, and reading them."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Final

MAIN: Final = "nas.devices.board.board"
#: Each needs Python 3.8, numpy where it computes, a runtime where it runs networks, and others of these.
SENT: Final = (
    MAIN,
    "nas.devices.board.channel",
    "nas.devices.board.frames",
    "nas.devices.board.kept_files",
    "nas.devices.runners.onnx_session",
    "nas.devices.runners.tvm_library",
    "nas.devices.system",
    "nas.devices.timing.cascades",
    "nas.devices.timing.clocks",
    "nas.devices.timing.kernel",
    "nas.devices.timing.measuring",
    "nas.devices.timing.plan",
    "nas.devices.timing.probe",
    "nas.devices.timing.readings",
    "nas.devices.timing.rounds",
    "nas.devices.timing.single_calls",
    "nas.deploy.cascade",
    "nas.process.facts",
    "nas.process.interrupt",
    "nas.process.machine",
    "nas.process.versions",
    "nas.tolerances",
    "hardware_profiles.blas",
    "hardware_profiles.cpuinfo",
    "hardware_profiles.host",
    "hardware_profiles.profile",
)


@cache
def sources() -> dict[str, str]:
    """The text of every module that is sent, by name."""
    return {name: path_of(name).read_text(encoding="utf-8") for name in SENT}


def path_of(module: str) -> Path:
    """The file of a module."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise AssertionError(f"{module} is not here")
    return Path(spec.origin)
