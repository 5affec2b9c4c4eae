"""Running what was exported: ONNX Runtime or TVM, whole or exit by exit, with readings of how long it takes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hardware_profiles import Target
    from nas.devices.runners.base import Runner

RUNNERS: Final[dict[str, str]] = {
    "onnxruntime": "nas.devices.runners.onnxruntime_runner:OnnxRuntime",
    "tvm": "nas.devices.runners.tvm_runner:Tvm",
}


def runner_for(target: Target) -> Runner:
    """The runner that a target names, set up for it; raises InputError where its runtime is not installed."""
    module, name = RUNNERS[target.runner].split(":")
    runner: Runner = getattr(importlib.import_module(module), name)(target)
    return runner
