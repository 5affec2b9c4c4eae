"""ONNX Runtime in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hardware_profiles import Target
from nas.deploy.builders import OnnxBuilder
from nas.devices.runners import onnx_session
from nas.devices.runners.base import Program
from nas.errors import InputError


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """A runtime with the threads of the target."""

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

        if reason := onnx_session.objection(self.target.provider):
            raise InputError(f"target.provider: {reason}")

    @property
    def version(self) -> str:
        """Name and version of the runtime."""
        return onnx_session.version()

    def load(self, artefact: Path) -> Program:
        """Load an ONNX model from a file; raises InputError if ONNX Runtime refuses it."""
        return self.load_bytes(artefact.read_bytes(), str(artefact))

    def load_bytes(self, data: bytes, name: str = "model") -> Program:
        """Load an ONNX model; raises InputError, with `name`, if ONNX Runtime refuses it."""
        try:
            return onnx_session.load(data, self.target.threads, name, self.target.provider)
        except onnx_session.Refused as error:
            raise InputError(str(error)) from None
