"""Loading an ONNX model into ONNX Runtime, wherever it runs: this file is sent to boards, with Python 3.8.

https://onnxruntime.ai/docs/performance/tune-performance/threading.html, .../iobinding.html
"""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

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
#: What ends the name of a node's computing in a profile; copies and waits of older versions end otherwise.
_COMPUTED: Final = "_kernel_time"
#: Types of inputs that numpy calls otherwise.
_TYPES: Final = {"float": "float32", "double": "float64"}
#: Nodes that a refusal names.
_NAMED: Final = 3


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
    the provider, in part or as a whole: what is not for the processor runs once, and says where each node ran.
    """
    import onnxruntime

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
    if provider == "cpu":
        return OnnxProgram(_session(model, options, name, provider))
    # Versions that do not know this entry pass over it, and it does not tell TensorRT from CUDA.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    unknown: tuple[type[Exception], ...] = (*_refusals(), OSError, TypeError, ValueError)
    try:
        with tempfile.TemporaryDirectory(prefix="hwnas-") as folder:
            options.enable_profiling, options.profile_file_prefix = True, os.path.join(folder, "nodes")
            session = _session(model, options, name, provider)
            nodes = ran_on(session)
    except Refused:
        raise
    except unknown as error:
        raise Refused(f"where the nodes of {name} run cannot be found out: {error}") from None
    if reason := misplaced(nodes, provider):
        raise Refused(
            f"ONNX Runtime {onnxruntime.__version__} runs {name} with {PROVIDERS[provider][0]}, but {reason}: times of "
            "another provider would be taken for those of this one"
        )
    return BoundProgram(session, _PLACES[provider])


def placed(events: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Where each node ran, by the events of a profile; what has no provider is no node's computing."""
    found: dict[str, set[str]] = {}
    for event in events:
        name, args = str(event.get("name", "")), event.get("args") or {}
        if event.get("cat") != "Node" or not name.endswith(_COMPUTED) or not args.get("provider"):
            continue
        node = name[: -len(_COMPUTED)] or f"{args.get('op_name')} {args.get('node_index')}"
        found.setdefault(node, set()).add(args["provider"])
    return found


def misplaced(nodes: Mapping[str, Collection[str]], provider: str) -> str:
    """Why nodes that ran there do not prove a provider (see `placed`), empty where they do."""
    wanted = PROVIDERS[provider]
    elsewhere = [f"{node} on {', '.join(sorted({*on} - {*wanted}))}" for node, on in nodes.items() if {*on} - {*wanted}]
    if elsewhere:
        more = f" and {len(elsewhere) - _NAMED} more" if len(elsewhere) > _NAMED else ""
        return f"{len(elsewhere)} of its {len(nodes)} nodes ran elsewhere ({'; '.join(elsewhere[:_NAMED])}{more})"
    if not any(wanted[0] in on for on in nodes.values()):
        there = sorted({each for on in nodes.values() for each in on})
        return f"none of its {len(nodes)} nodes ran there" + (f" (all on {', '.join(there)})" if there else "")
    return ""


def ran_on(session: Any) -> dict[str, set[str]]:
    """Where the nodes of a session that profiles run: it runs once, on zeros, and ends profiling.

    Dimensions that are names count as 1. Raises what ONNX Runtime does, TypeError for inputs that numpy has no type
    for, and OSError and ValueError for a profile that cannot be read.
    """
    import numpy as np

    zeros = {}
    for value in session.get_inputs():
        kind = value.type[len("tensor(") : -1]
        shape = [size if isinstance(size, int) else 1 for size in value.shape]
        zeros[value.name] = np.zeros(shape, _TYPES.get(kind, kind))
    session.run(None, zeros)
    with open(session.end_profiling(), encoding="utf-8") as file:
        return placed(json.load(file))


def _session(model: bytes, options: Any, name: str, provider: str) -> Any:
    import onnxruntime

    wanted = list(PROVIDERS[provider])
    try:
        session = onnxruntime.InferenceSession(model, options, providers=wanted)
    except _refusals() as error:
        raise Refused(f"ONNX Runtime {onnxruntime.__version__} refuses {name}: {error}") from None
    if (found := session.get_providers()[:1]) != wanted[:1]:
        raise Refused(
            f"ONNX Runtime {onnxruntime.__version__} runs {name} with {', '.join(found)} and not with {wanted[0]}: its "
            "libraries or its driver are missing, and times of the processor would be taken for those of the device"
        )
    return session


def _refusals() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as refusals

    names = (
        "Fail",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "InvalidArgument",
        "RuntimeException",
        "EPFail",
    )
    return tuple(getattr(refusals, name) for name in names)
