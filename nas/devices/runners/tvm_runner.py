"""Libraries compiled by TVM, run by its Relax virtual machine, in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hardware_profiles import Target
from nas.deploy.builders import TvmBuilder
from nas.deploy.schedules import VERSION
from nas.deploy.tvm import available
from nas.devices.runners import tvm_library
from nas.devices.runners.tvm_library import TvmProgram
from nas.errors import InputError


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

        if reason := tvm_library.objection(self.target.provider):
            raise InputError(f"target.provider: {reason}")

    @property
    def version(self) -> str:
        """Name and version of the runtime, and of the rules that the libraries are made by."""
        return f"{tvm_library.version()}, kernels {VERSION}"

    def load(self, artefact: Path) -> TvmProgram:
        """Load a library; raises InputError for one that is not there, not for this processor or not made by TVM."""
        try:
            return tvm_library.load(artefact.read_bytes(), self.target.threads, str(artefact))
        except tvm_library.Refused as error:
            raise InputError(str(error)) from None
