"""Loading a library that TVM compiled, wherever it runs: this file is sent to boards, with Python 3.8."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, np.dtype[Any]]

#: TVM takes over a buffer without copying it only if it begins at a multiple of this.
_ALIGNMENT = 64


class Refused(ValueError):
    """TVM cannot load a library, and says why."""


class TvmProgram:
    """A library's function `main`. Inputs are copied into buffers of its own, as TVM wants them aligned: 1 microsecond.

    The size of the buffers is that of the first inputs; the library has one fixed shape anyway.
    """

    def __init__(self, main: Any) -> None:
        self._main = main
        self._buffers: list[Array] = []
        self._tensors: list[Any] = []

    def __call__(self, *inputs: Array) -> Sequence[Array]:
        """Run on float32 arrays in the order of the ONNX model's inputs; returns its outputs in order."""
        if not self._buffers:
            self._allocate(inputs)
        for buffer, value in zip(self._buffers, inputs):  # noqa: B905 (new in 3.10)
            np.copyto(buffer, value)
        outputs = self._main(*self._tensors)
        if hasattr(outputs, "shape"):
            return [np.from_dlpack(outputs)]
        return [np.from_dlpack(output) for output in outputs]

    def _allocate(self, inputs: Sequence[Array]) -> None:
        import tvm

        for value in inputs:
            raw = np.empty(value.size * 4 + _ALIGNMENT, np.uint8)
            start = -raw.ctypes.data % _ALIGNMENT
            self._buffers.append(raw[start : start + value.size * 4].view(np.float32).reshape(value.shape))
        self._tensors = [tvm.runtime.from_dlpack(buffer) for buffer in self._buffers]


def version() -> str:
    """Name and version of the runtime."""
    import tvm

    return f"tvm {tvm.__version__}"


def objection(provider: str) -> str:
    """Why the runtime cannot compute there, empty where it can."""
    return "" if provider == "cpu" else f"TVM's libraries are made for processors, not for provider {provider}"


def load(library: bytes, threads: int, name: str, provider: str = "cpu") -> TvmProgram:
    """Load a library, to run on so many threads; raises Refused, with `name`, for one that TVM cannot run here."""
    if reason := objection(provider):
        raise Refused(reason)
    # It would keep the thread that calls it on one core for ever, and so whatever this process does afterwards.
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    import tvm
    import tvm_ffi
    from tvm.runtime.vm import VirtualMachine

    # The thread pool is one per process: the last library that is loaded decides. 1 means the fast cores.
    tvm_ffi.get_global_func("runtime.config_threadpool")(1, threads)
    with tempfile.TemporaryDirectory() as folder:
        # The system's loader knows libraries by path: a new file under an old path would give the old library.
        copy = Path(folder) / "library.so"
        copy.write_bytes(library)
        try:
            machine = VirtualMachine(tvm.runtime.load_module(str(copy)), tvm.cpu())
        except (RuntimeError, AttributeError) as error:
            raise Refused(f"TVM {tvm.__version__} cannot load {name}: {error}") from None
    return TvmProgram(machine["main"])
