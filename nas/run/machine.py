"""What machine does a run begin on?"""

from __future__ import annotations

import os
import platform
from collections import Counter
from typing import Any

from hardware_profiles import cpuinfo
from nas.process import facts
from nas.process.facts import Facts


def machine() -> dict[str, Any]:
    """What is compared when a run goes on: another machine gives other results."""
    return {"platform": platform.platform(), "processor": processor(), "cores": len(facts.cores_used())}


def processor() -> str:
    """The processor's name."""
    found = cpuinfo.first()
    return found.get("model name", platform.machine()) if found else platform.processor()


def facts_here() -> Facts:
    """What a run notes of this machine; imports JAX, and compiles the optional kernel where that was never done."""
    import jax

    from nas.nn import native

    compiler = facts.kernel_compiler() if native.available() else None
    found = Counter(device.device_kind for device in jax.devices())
    trains_on = ", ".join(kind if count == 1 else f"{count} x {kind}" for kind, count in found.items())
    return Facts(
        compiler=None if compiler is None else facts.compiler_version(compiler),
        trains_on=trains_on,
        cores_used=len(facts.cores_used()),
        cores_present=os.cpu_count() or 1,
        governor=facts.governor(),
        unused_gpu=facts.unused_gpu(device.platform for device in jax.devices()),
    )
