"""What programs run on, and what has to be set before the first is compiled: the C heap, the folder of programs."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import jax

from hardware_profiles import cpuinfo
from nas.process.cache import cache_home
from nas.process.heap import keep_heap

#: Compiling less than this is faster than reading it back from disk.
_WORTH_KEEPING_S = 0.2


def cache_folder() -> Path:
    """The user's folder of compiled programs for this kind of processor, in `$XDG_CACHE_HOME` or `~/.cache`.

    Home folders move between machines; programs for another processor crash or are slow.
    """
    lines = cpuinfo.lines() or [platform.processor()]
    abilities = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}) or lines
    name = f"{platform.machine()}-{hashlib.sha256(''.join(abilities).encode()).hexdigest()[:8]}"
    return cache_home() / name


def name() -> str:
    """What JAX computes on in this process: `cpu`, `gpu` or `tpu`."""
    return str(jax.default_backend())


def prepare() -> None:
    """Set up this process for training: keep the heap and, unless the user chose a folder, keep compiled programs."""
    keep_heap()
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING_S)
