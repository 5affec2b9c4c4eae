"""What a test runs on the emulated board: a network on one of its runtimes, from and to its standard streams.

python on_arm.py onnxruntime|tvm NETWORK < inputs.npz > outputs.npz
"""

from __future__ import annotations

import io
import platform
import sys
from typing import Any

import numpy as np


def outputs(runtime: str, path: str, inputs: dict[str, Any]) -> list[Any]:
    """What the network in a file answers to inputs by name, which are in order."""
    if runtime == "onnxruntime":
        import onnxruntime

        return list(onnxruntime.InferenceSession(path).run(None, inputs))
    import tvm
    from tvm.runtime.vm import VirtualMachine

    machine = VirtualMachine(tvm.runtime.load_module(path), tvm.cpu())
    return [answer.numpy() for answer in machine["main"](*map(tvm.runtime.tensor, inputs.values()))]


if __name__ == "__main__":
    assert platform.machine() == "aarch64"
    runtime, path = sys.argv[1:]
    given = dict(np.load(io.BytesIO(sys.stdin.buffer.read())))
    np.savez(sys.stdout.buffer, *outputs(runtime, path, given))
