"""Depthwise convolution in C++ (`depthwise.cc`), compiled once per machine where there is a compiler.

It trains a small network one and a half to two times as fast as the forms in `layers` that need no compiler, which
take its place where it cannot be had; numbers agree to float32 rounding.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import platform
import subprocess
import tempfile
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hardware_profiles import cpuinfo
from nas.nn.backend import cache_folder
from nas.process.facts import kernel_compiler

_FLAGS: Final = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC")
_FORWARD: Final = "hwnas_depthwise_forward"
_BACKWARD: Final = "hwnas_depthwise_backward"
#: Seconds after which a compiler is given up.
_PATIENCE_S: Final = 300

_log = logging.getLogger(__name__)


@cache
def available() -> bool:
    """Whether the C++ form can be used; compiles it if that has not been done on this machine."""
    try:
        library = ctypes.CDLL(str(_build()))
    except (OSError, subprocess.SubprocessError) as error:
        _log.info("depthwise convolutions run without C++: %s", error)
        return False
    for name, symbol in ((_FORWARD, library.DepthwiseForward), (_BACKWARD, library.DepthwiseBackward)):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(symbol), platform="cpu")
    return True


def _build() -> Path:
    """The compiled library; raises OSError or SubprocessError where it cannot be made."""
    compiler = kernel_compiler()
    if compiler is None:
        raise FileNotFoundError("there is no C++ compiler (g++, clang++ or $CXX)")
    source = resources.files(__package__) / "depthwise.cc"
    content = source.read_bytes()
    parts = (content, compiler, _FLAGS, jax.__version__, _instructions())
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    folder = cache_folder() / "native"
    library = folder / f"depthwise-{key}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own: several processes may compile at once, and the last rename wins.
        with tempfile.TemporaryDirectory(dir=folder) as work, resources.as_file(source) as path:
            made = Path(work) / library.name
            command = [compiler, *_FLAGS, "-isystem", jax.ffi.include_dir(), str(path), "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE_S)
            made.replace(library)
    return library


def _instructions() -> str:
    """What the processor can do: a home folder may be shared by machines, and code for one can crash on another."""
    lines = cpuinfo.lines()
    if not lines:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def _floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def depthwise(x: Array, w: Array, size: Array, active: Array, stride: int, padding: int) -> Array:
    """Depthwise convolution of x [n, h, w, c] with the centre of w [k, k, c] of side `size`, in float32.

    Channels from `active` on (int32, as `size`) are zero and so are their gradients. `padding` is that of side k.
    """
    kernel = w.shape[0]
    height, width = ((side + 2 * padding - kernel) // stride + 1 for side in x.shape[1:3])
    call = jax.ffi.ffi_call(_FORWARD, _floats(x.shape[0], height, width, x.shape[3]))
    y: Array = call(x, w, size, active, stride=np.int64(stride), padding=np.int64(padding))
    return y


_Kept = tuple[Array, Array, Array, Array]


def _forward(x: Array, w: Array, size: Array, active: Array, stride: int, padding: int) -> tuple[Array, _Kept]:
    return depthwise(x, w, size, active, stride, padding), (x, w, size, active)


def _backward(stride: int, padding: int, kept: _Kept, g: Array) -> tuple[Array, Array, None, None]:
    x, w, size, active = kept
    call = jax.ffi.ffi_call(_BACKWARD, (_floats(*x.shape), _floats(*w.shape)))
    dx, dw = call(x, w, g, size, active, stride=np.int64(stride), padding=np.int64(padding))
    return dx, dw, None, None


depthwise.defvjp(_forward, _backward)
