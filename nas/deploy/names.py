"""What the files of an exported network are called; `run.py` of the bundle stands alone and knows two of them too."""

from __future__ import annotations

from typing import Final

MODEL: Final = "model.onnx"
MANIFEST: Final = "manifest.json"
THRESHOLDS: Final = "thresholds.json"
#: A copy of the file that the exit policy stands in.
POLICY: Final = "policy.py"


def segment(number: int) -> str:
    """The file of the segment that ends at an exit, counted from 0."""
    return f"exit_{number}.onnx"
