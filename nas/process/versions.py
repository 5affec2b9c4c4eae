"""Which versions of the packages are installed: recorded beside whatever may depend on them."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import metadata
from typing import Final

#: What the numbers of a run depend on.
OF_RUNS: Final = ("hwnas", "jax", "jaxlib", "flax", "optax", "numpy", "onnx", "onnxruntime", "apache-tvm")
#: What the seconds of a reading depend on.
OF_READINGS: Final = ("hwnas", "numpy", "onnxruntime", "apache-tvm")
#: What makes artefacts.
OF_ARTEFACTS: Final = ("numpy", "jax", "onnx", "onnxruntime", "apache-tvm", "apache-tvm-ffi")


@lru_cache(maxsize=None)  # noqa: UP033 (new in 3.9, and this file is sent to boards)
def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """The version of Python, then those of the packages that are installed, in their order."""
    found = {"python": sys.version.split()[0]}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
