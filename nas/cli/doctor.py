"""What works on this machine: each thing is tried, not looked up."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: `detail` says what was found, or what to do about it."""

    what: str
    works: bool
    required: bool
    detail: str


def diagnose() -> tuple[Finding, ...]:
    """Try every part the project can use on this machine."""
    return (
        Finding("Python", sys.version_info >= (3, 11), True, sys.version.split()[0]),
        Finding("processor", True, True, _processor()),
        _governor(),
        _try("JAX", True, _jax),
        *_gpus(),
        _kernel(),
        _try("ONNX Runtime", True, _onnxruntime),
        _try("TVM", False, _tvm),
        _compiler(),
        _optional("ziglang", "linking without g++, and for other processors", "cross"),
        _data(),
    )


def _try(what: str, required: bool, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, required, probe())
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return Finding(what, False, required, f"{type(error).__name__}: {error}")


def _processor() -> str:
    from nas.process.facts import cores_used
    from nas.run.machine import processor

    return f"{processor()}, {len(cores_used())} of {os.cpu_count()} cores available to this process"


def _governor() -> Finding:
    from nas.process.facts import STEADY, governor, unsteady

    found = governor()
    if unsteady(found):
        return Finding(
            "governor",
            False,
            False,
            f"{found}, not {STEADY}: latencies depend on what ran before them; see docs/board.md",
        )
    return Finding("governor", True, False, found or "not readable here, as in most containers and virtual machines")


def _gpus() -> list[Finding]:
    """The GPUs that are here, and whether JAX trains on them; nothing where there are none or JAX does not run."""
    from nas.process.facts import gpus, unused, unused_gpu

    try:
        import jax

        platforms = [device.platform for device in jax.devices()]
    except (ImportError, OSError, RuntimeError, ValueError):  # said beside JAX
        return []
    if not (found := gpus()):
        return []
    idle = unused_gpu(platforms)
    return [Finding("GPU", idle is None, False, ", ".join(found) if idle is None else unused(idle, "cpu"))]


def _kernel() -> Finding:
    """The compiler of the kernel that trains small networks faster."""
    from nas.process.facts import compiler_version, kernel_compiler

    command, without = kernel_compiler(), "training depthwise convolutions takes up to twice as long"
    if command is None:
        return Finding("C++ kernel", False, False, f"there is no C++ compiler (g++, clang++ or $CXX); {without}")
    try:
        from nas.nn import native

        works = native.available()
    except (ImportError, RuntimeError):  # said beside JAX
        works = False
    version = compiler_version(command)
    return Finding("C++ kernel", works, False, version if works else f"{version} does not compile it; {without}")


def _jax() -> str:
    import jax
    import jax.numpy as jnp

    total = float(jax.jit(jnp.sum)(jnp.ones((4, 4))))
    if total != 16:
        raise RuntimeError(f"a sum of 16 ones gave {total}")
    return f"{jax.__version__} on {', '.join(str(device) for device in jax.devices())}"


def _onnxruntime() -> str:
    import numpy as np
    import onnxruntime

    from nas.deploy.onnx import to_onnx
    from search_spaces.ir import Builder

    b = Builder()
    network = b.network(b("relu", "relu", b.input("image", (1, 2, 2))))
    session = onnxruntime.InferenceSession(to_onnx(network, {}), providers=["CPUExecutionProvider"])
    answer = session.run(None, {"image": -np.ones((1, 1, 2, 2), np.float32)})[0]
    if np.any(answer != 0):
        raise RuntimeError(f"relu of -1 gave {answer.ravel()[0]}")
    return f"{onnxruntime.__version__} with {', '.join(onnxruntime.get_available_providers())}"


def _tvm() -> str:
    import tvm

    from hardware_profiles import HOST, load

    target = tvm.target.Target(dict(load(HOST).tvm_target or {"kind": "llvm"}))
    return f"{tvm.__version__}, target for this machine: {target}"


def _compiler() -> Finding:
    from nas.deploy.tvm import compiler

    found = compiler()
    if found.command is None:
        return Finding("C++ linker", False, False, f"{found.reason}; runs go on with ONNX alone")
    return Finding("C++ linker", True, False, found.reason)


def _optional(package: str, purpose: str, extra: str) -> Finding:
    try:
        module = importlib.import_module(package)
    except ImportError:
        return Finding(package, False, False, f"not installed; for {purpose}: pip install 'hwnas[{extra}]'")
    return Finding(package, True, False, f"{getattr(module, '__version__', 'installed')}, for {purpose}")


def _data() -> Finding:
    from nas.tasks.image_classification.fashion_mnist import DEBIAN_FOLDER

    present = Path(DEBIAN_FOLDER).is_dir()
    detail = DEBIAN_FOLDER if present else "not found; on Debian: apt-get install dataset-fashion-mnist"
    return Finding("Fashion-MNIST", present, False, str(detail))
