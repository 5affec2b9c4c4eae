"""What does a target's processor offer a kernel? Lanes of a vector, vector registers and threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Processor:
    """`lanes` float32 values in one of `registers` vector registers; kernels are shared out among `threads`."""

    lanes: int
    registers: int
    threads: int = 1


def processor_of(target: Any) -> Processor:
    """The processor of a TVM target of kind llvm, here or elsewhere."""
    from tvm.target.codegen import llvm_get_system_triple, target_has_features

    threads = int(target.attrs.get("num-cores", 1))
    machine = str(target.attrs.get("mtriple") or llvm_get_system_triple()).split("-")[0].lower()
    if machine in ("x86_64", "amd64", "i386", "i686"):
        if target_has_features("avx512f", target):
            return Processor(16, 32, threads)
        return Processor(8 if target_has_features("avx", target) else 4, 16, threads)
    return Processor(4, 32 if machine in ("aarch64", "arm64") else 16, threads)
