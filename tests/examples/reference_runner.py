"""A runner of one's own: ONNX models by the reference evaluator of the package onnx, slowly and by the book."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import onnx
from google.protobuf.message import DecodeError
from onnx.reference import ReferenceEvaluator

from hardware_profiles import Target
from nas.deploy.builders import OnnxBuilder
from nas.errors import InputError


class Reference:
    """Runs what ONNX Runtime runs, without it; one thread, whatever the target says."""

    builder: ClassVar = OnnxBuilder

    def __init__(self, target: Target) -> None:
        self.target = target
        if target.runtime_version not in (None, onnx.__version__):
            raise InputError(f"the target asks for version {target.runtime_version}, here is {onnx.__version__}")

    @property
    def version(self) -> str:
        """Name and version."""
        return f"onnx-reference {onnx.__version__}"

    def load(self, artefact: Path) -> Any:
        """A model ready to be called with its inputs in order."""
        try:
            evaluator = ReferenceEvaluator(onnx.load(artefact))
        except DecodeError as error:
            raise InputError(f"{artefact} is no ONNX model: {error}") from error

        def program(*inputs: Any) -> Sequence[Any]:
            answers: Sequence[Any] = evaluator.run(None, dict(zip(evaluator.input_names, inputs, strict=True)))
            return answers

        return program
