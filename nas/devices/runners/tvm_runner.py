"""Libraries compiled by TVM, run by its Relax virtual machine, in this process or on the device of a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from hardware_profiles import Target
from nas.deploy.builders import TvmBuilder
from nas.deploy.tvm import available
from nas.devices.runners.base import Array
from nas.errors import InputError

#: TVM takes over a buffer without copying it only if it begins at a multiple of this.
_ALIGNMENT = 64


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
        for buffer, value in zip(self._buffers, inputs, strict=True):
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


@dataclass(frozen=True)
class Tvm:
    """TVM's runtime with the threads of the target."""

    builder: ClassVar = TvmBuilder

    target: Target

    def __post_init__(self) -> None:
        importable, reason = available()
        if not importable:
            raise InputError(f"cannot run TVM libraries: {reason}")
        import tvm

        wanted = self.target.runtime_version
        if wanted is not None and wanted != tvm.__version__:
            raise InputError(
                f"the target asks for TVM {wanted}, here is {tvm.__version__}: install that version, "
                "or leave runtime_version out of the target"
            )

    @property
    def version(self) -> str:
        """Name and version of the runtime."""
        import tvm

        return f"tvm {tvm.__version__}"

    @cached_property
    def _set_threads(self) -> Any:
        import tvm_ffi

        return tvm_ffi.get_global_func("runtime.config_threadpool")

    def load(self, artefact: Path) -> TvmProgram:
        """Load a library; raises InputError for one that is not there, not for this processor or not made by TVM."""
        import tvm
        from tvm.runtime.vm import VirtualMachine

        # The thread pool is one per process: the last runner that loads decides. 1 means the fast cores.
        self._set_threads(1, self.target.threads)
        with TemporaryDirectory() as folder:
            # The system's loader knows libraries by path: a new file under an old path would give the old library.
            copy = Path(folder) / artefact.name
            copy.write_bytes(artefact.read_bytes())
            try:
                machine = VirtualMachine(tvm.runtime.load_module(str(copy)), tvm.cpu())
            except (RuntimeError, AttributeError) as error:
                raise InputError(f"TVM {tvm.__version__} cannot load {artefact}: {error}") from None
        return TvmProgram(machine["main"])
