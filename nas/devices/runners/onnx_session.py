"""Loading an ONNX model into ONNX Runtime, wherever it runs: this file is sent to boards, with Python 3.8.

https://onnxruntime.ai/docs/performance/tune-performance/threading.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Refused(ValueError):
    """ONNX Runtime cannot run a model, and says why."""


class OnnxProgram:
    """A session; calling it costs about 8 microseconds before anything is computed."""

    def __init__(self, session: Any) -> None:
        self._run = session.run
        self.takes = tuple(value.name for value in session.get_inputs())
        self.gives = [value.name for value in session.get_outputs()]

    def __call__(self, *inputs: Array) -> Sequence[Array]:
        """Run on arrays in the order of `takes`; returns those of `gives`."""
        outputs: Sequence[Array] = self._run(self.gives, dict(zip(self.takes, inputs)))  # noqa: B905 (new in 3.10)
        return outputs


def version() -> str:
    """Name and version of the runtime."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def load(model: bytes, threads: int, name: str) -> OnnxProgram:
    """Load a model: `threads` within an operator, operators one after the other, all optimisations, CPU only.

    Raises Refused, with `name`, if ONNX Runtime does.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if threads == 1:
        # A pool that spins while it waits burns the core that is being measured.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except (refusals.Fail, refusals.InvalidGraph, refusals.InvalidProtobuf, refusals.NotImplemented) as error:
        raise Refused(f"ONNX Runtime {onnxruntime.__version__} refuses {name}: {error}") from None
    return OnnxProgram(session)
