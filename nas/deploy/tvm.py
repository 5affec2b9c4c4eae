"""Compiles an ONNX model to a shared library with TVM, for this machine or another processor.

Untuned: the kernels are made by the rules of `nas.deploy.schedules`; what has no rule is computed as TVM defines it,
one value at a time. https://tvm.apache.org/docs
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from nas.deploy.segment import SegmentFile
from nas.errors import InputError
from nas.process.files import atomic_path
from nas.process.machine import breathe

#: What TVM, its linker and its libraries raise; the ONNX artefacts do not depend on them.
TVM_FAILURES = (InputError, RuntimeError, OSError)
#: The oldest C library that libraries linked by zig ask for: Debian 8, CentOS 7 and everything since.
_ZIG_GLIBC = "2.17"
_ALONE = Lock()


@dataclass(frozen=True, slots=True)
class Compiler:
    """A command that links object files into a shared library; `reason` says which, or why there is none."""

    command: tuple[str, ...] | None
    reason: str

    def link(self, output: str, objects: Sequence[str], options: Sequence[str] | None = None) -> None:
        """Link; raises InputError without a compiler, or with the compiler's own words if it fails."""
        if self.command is None:
            raise InputError(f"cannot link a TVM library: {self.reason}")
        line = [*self.command, "-o", output, *(options or ()), *objects]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"{self.reason} could not link {Path(output).name}: {done.stderr.strip()[-2000:]}")


@cache
def available() -> tuple[bool, str]:
    """Whether TVM can be imported here, and if not, why."""
    if importlib.util.find_spec("tvm") is None:
        return False, "the package apache-tvm is not installed"
    try:
        importlib.import_module("tvm")
    except (ImportError, OSError, AttributeError) as error:
        return False, f"apache-tvm is installed but cannot be imported: {error}"
    return True, ""


def compiler(triple: str | None = None) -> Compiler:
    """The C++ compiler that links for this machine, or for a triple such as `aarch64-linux-gnu`.

    In order: CXX and CC (for this machine only), g++, clang++, gcc, clang, and the PyPI package `ziglang`.
    """
    system = _system(triple) if triple is not None else _HERE
    if system == _HERE:
        names = ["g++", "clang++", "gcc", "clang"]
        for variable in ("CXX", "CC"):
            words = shlex.split(os.environ.get(variable, ""))
            if words and shutil.which(words[0]):
                return Compiler((*words, *_SHARED), f"{variable}={words[0]}")
    else:
        names = [f"{triple}-g++", f"{triple}-clang++", f"{triple}-gcc"]
    for name in names:
        if found := shutil.which(name):
            return Compiler((found, *_SHARED), name)
    machine, kind = system
    if kind == "linux" and importlib.util.find_spec("ziglang") is not None:
        target = f"{machine}-linux-gnu.{_ZIG_GLIBC}"
        return Compiler((sys.executable, "-m", "ziglang", "cc", "-target", target, *_SHARED), f"zig for {target}")
    remedy = "; install one, or `pip install 'hwnas[cross]'`" if kind == "linux" else ""
    tried = ", ".join(names)
    return Compiler(None, f"there is no C++ compiler for {triple or 'this machine'} ({tried} were tried){remedy}")


def _system(triple: str) -> tuple[str, str]:
    """Processor and system of an LLVM triple, as far as a linker cares: ("aarch64", "linux")."""
    parts = triple.split("-")
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(parts[0].lower(), parts[0].lower())
    kinds = {"android": "android", "apple": "darwin", "darwin": "darwin", "linux": "linux"}
    return machine, next((kind for word, kind in kinds.items() if any(p.startswith(word) for p in parts[1:])), triple)


_HERE = _system(f"{platform.machine()}-{platform.system().lower()}")
#: Apple's linker refuses symbols that the process which loads the library will provide, unless told to wait.
_SHARED = ("-shared", "-fPIC", *(("-undefined", "dynamic_lookup") if _HERE[1] == "darwin" else ()))


def objection(target: Mapping[str, Any]) -> str:
    """Why nothing can be compiled here for a TVM target given as a dict; empty where it can."""
    importable, reason = available()
    if not importable:
        return reason
    if target.get("kind") != "llvm":
        return (
            f"its TVM target is {dict(target)}, which is no CPU; choose the runner onnxruntime, or a device with a CPU "
            "target (kind: llvm)"
        )
    import tvm

    try:
        tvm.target.Target(dict(target))
    except (ValueError, TypeError) as error:
        return f"TVM refuses the target {dict(target)}: {error}"
    linker = compiler(target.get("mtriple"))
    return linker.reason if linker.command is None else ""


def to_tvm(data: bytes, target: Mapping[str, Any], path: Path, linker: Compiler | None = None) -> None:
    """Compile an ONNX model with a fixed batch to a shared library for a TVM target given as a dict.

    The library holds the weights and needs only TVM's runtime; its function `main` takes the inputs and returns the
    outputs in the order of the ONNX model. Raises InputError without TVM or a compiler, for a target that TVM refuses
    or that is no CPU, and for a symbolic batch.
    """
    importable, reason = available()
    if not importable:
        raise InputError(f"cannot compile with TVM: {reason}")
    if target.get("kind") != "llvm":
        raise InputError(
            f"TVM target {dict(target)} is no CPU: a library for {target.get('kind')!r} can be compiled here, but not "
            "checked; choose the runner onnxruntime, or a CPU target (kind: llvm)"
        )
    linker = linker or compiler(target.get("mtriple"))
    if linker.command is None:
        raise InputError(f"cannot link a TVM library: {linker.reason}")
    # TVM's reader of ONNX models knows of one model at a time, whichever thread it is in.
    with _ALONE:
        executable = _compile(data, target)
    with atomic_path(path) as temporary, TemporaryDirectory() as folder:
        executable.export_library(str(temporary), fcompile=linker.link, workspace_dir=folder)


def segments_to_tvm(
    segments: Sequence[SegmentFile],
    source: Path,
    target: Mapping[str, Any],
    folder: Path,
    linker: Compiler | None = None,
) -> tuple[SegmentFile, ...]:
    """Compile the segments that `export_segments` wrote into `source`; returns them with the libraries' names."""
    compiled = []
    for segment in segments:
        name = Path(segment.file).with_suffix(".so").name
        to_tvm((source / segment.file).read_bytes(), target, folder / name, linker)
        compiled.append(SegmentFile(name, segment.takes, segment.exit, segment.gives))
        breathe()
    return tuple(compiled)


def _compile(data: bytes, target: Mapping[str, Any]) -> Any:
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    from nas.deploy.schedules.pipeline import scheduled

    model = onnx.load_from_string(data)
    for value in model.graph.input:
        if any(axis.dim_param for axis in value.type.tensor_type.shape.dim):
            raise InputError(f"the input {value.name!r} has a symbolic batch; TVM compiles for a fixed one")
    try:
        built_for = tvm.target.Target(dict(target))
    except (ValueError, TypeError) as error:
        raise InputError(f"TVM refuses the target {dict(target)}: {error}") from None
    module = from_onnx(model, keep_params_in_input=False, sanitize_input_names=False)
    module = scheduled(module, built_for)
    return tvm.compile(module, target=built_for, relax_pipeline=relax.get_pipeline("default_build"))
