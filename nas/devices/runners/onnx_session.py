"""Loading an ONNX model into ONNX Runtime, wherever it runs: this file is sent to boards, with Python 3.8.

https://onnxruntime.ai/docs/performance/tune-performance/threading.html, .../iobinding.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Refused(ValueError):
    """ONNX Runtime cannot run a model, and says why."""


#: What ONNX Runtime calls the providers, and the ones that may take over from each; the processor never may.
PROVIDERS: Final = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
#: Where the arrays of a provider lie.
_PLACES: Final = {"cuda": "cuda", "tensorrt": "cuda"}


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


class BoundProgram:
    """A session whose arrays lie on a device: a sample is copied there, answers are copied back, and both count.

    What one segment hands to the next stays there. A call ends when the device has computed.
    """

    def __init__(self, session: Any, place: str) -> None:
        self._session, self._place = session, place
        self.takes = tuple(value.name for value in session.get_inputs())
        self.gives = [value.name for value in session.get_outputs()]

    def __call__(self, *inputs: Any) -> Sequence[Any]:
        """Run on arrays, or what another segment gave, in the order of `takes`; the first of `gives` is an array."""
        import onnxruntime

        binding = self._session.io_binding()
        for name, value in zip(self.takes, inputs):  # noqa: B905 (new in 3.10)
            if hasattr(value, "dtype"):
                value = onnxruntime.OrtValue.ortvalue_from_numpy(value, self._place, 0)
            binding.bind_ortvalue_input(name, value)
        for name in self.gives:
            binding.bind_output(name, self._place)
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        answer, *handed_on = binding.get_outputs()
        return [answer.numpy(), *handed_on]


def version() -> str:
    """Name and version of the runtime."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def objection(provider: str) -> str:
    """Why the runtime cannot compute there, empty where it can."""
    import onnxruntime

    if provider not in PROVIDERS:
        return f"provider {provider} was never tried with this project; give one of {', '.join(PROVIDERS)}"
    there = onnxruntime.get_available_providers()
    if PROVIDERS[provider][0] not in there:
        return (
            f"ONNX Runtime {onnxruntime.__version__} has no provider {provider} (it has {', '.join(there)}): install a "
            "package that has it, such as onnxruntime-gpu"
        )
    return ""


def load(model: bytes, threads: int, name: str, provider: str = "cpu") -> OnnxProgram | BoundProgram:
    """Load a model: `threads` within an operator, operators one after the other, all optimisations.

    Raises Refused, with `name`, if ONNX Runtime does, and where it would silently compute on the processor instead of
    the provider, in part or as a whole.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals

    if reason := objection(provider):
        raise Refused(reason)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if threads == 1:
        # A pool that spins while it waits burns the core that is being measured.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    wanted = list(PROVIDERS[provider])
    try:
        session = onnxruntime.InferenceSession(model, options, providers=wanted)
    except (refusals.Fail, refusals.InvalidGraph, refusals.InvalidProtobuf, refusals.NotImplemented) as error:
        raise Refused(f"ONNX Runtime {onnxruntime.__version__} refuses {name}: {error}") from None
    if (found := session.get_providers()[:1]) != wanted[:1]:
        raise Refused(
            f"ONNX Runtime {onnxruntime.__version__} runs {name} with {', '.join(found)} and not with {wanted[0]}: its "
            "libraries or its driver are missing, and times of the processor would be taken for those of the device"
        )
    return OnnxProgram(session) if provider == "cpu" else BoundProgram(session, _PLACES[provider])
