"""ONNX Runtime on the CPU, in this process. https://onnxruntime.ai/docs/performance/tune-performance/threading.html"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hardware_profiles import Target
from nas.deploy.builders import OnnxBuilder
from nas.devices.runners.base import Array
from nas.errors import InputError


class OnnxProgram:
    """A session; calling it costs about 8 microseconds before anything is computed."""

    def __init__(self, session: Any) -> None:
        self._run = session.run
        self.takes = tuple(value.name for value in session.get_inputs())
        self.gives = [value.name for value in session.get_outputs()]

    def __call__(self, *inputs: Array) -> Sequence[Array]:
        """Run on arrays in the order of `takes`; returns those of `gives`."""
        outputs: Sequence[Array] = self._run(self.gives, dict(zip(self.takes, inputs, strict=True)))
        return outputs


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """The threads of the target within an operator, operators one after the other, all optimisations, CPU only."""

    builder: ClassVar = OnnxBuilder

    target: Target

    def __post_init__(self) -> None:
        import onnxruntime

        wanted = self.target.runtime_version
        if wanted is not None and wanted != onnxruntime.__version__:
            raise InputError(
                f"the target asks for ONNX Runtime {wanted}, here is {onnxruntime.__version__}: install that version, "
                "or leave runtime_version out of the target"
            )

    @property
    def version(self) -> str:
        """Name and version of the runtime."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"

    def load(self, artefact: Path) -> OnnxProgram:
        """Load an ONNX model from a file; raises InputError if ONNX Runtime refuses it."""
        return self.load_bytes(artefact.read_bytes(), str(artefact))

    def load_bytes(self, data: bytes, name: str = "model") -> OnnxProgram:
        """Load an ONNX model; raises InputError, with `name`, if ONNX Runtime refuses it."""
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as refusals

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.target.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        if self.target.threads == 1:
            # A pool that spins while it waits burns the core that is being measured.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except (refusals.Fail, refusals.InvalidGraph, refusals.InvalidProtobuf, refusals.NotImplemented) as error:
            raise InputError(f"ONNX Runtime {onnxruntime.__version__} refuses {name}: {error}") from None
        return OnnxProgram(session)
