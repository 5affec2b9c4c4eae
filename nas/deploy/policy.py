"""The file of an exit policy: a copy of it decides in every bundle, so it has to run there, and say the same."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from nas.errors import InputError
from nas.exits.base import ExitPolicy
from nas.exits.policies import MaxProbability

#: Run with no way to this project or to the working directory: as `run.py` makes a policy.
_PROGRAM: Final = """
import importlib.util, json, sys
asked = json.loads(sys.stdin.read())
for name in asked["blocked"]:
    sys.modules[name] = None
spec = importlib.util.spec_from_file_location("policy", asked["file"])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import numpy as np
policy = getattr(module, asked["class"])(**asked["arguments"])
state, found = policy.start(), []
for logits in asked["logits"]:
    state, score = policy.step(state, {"logits": np.array([logits], np.float32)})
    found.append(float(score))
print(json.dumps(found))
"""
_BLOCKED: Final = ("nas", "search_spaces", "latency_models", "hardware_profiles", "jax", "onnx", "scipy", "tvm", "yaml")
_LOGITS: Final = np.random.default_rng(0).standard_normal((3, 10)).astype(np.float32)
_SAME: Final = 1e-9


def policy_file(policy: ExitPolicy) -> Path:
    """The file that a policy's class stands in."""
    return Path(inspect.getfile(type(policy)))


def policy_record(policy: ExitPolicy, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """How a bundle makes the exit policy: the class of that name in its file, with these arguments."""
    return {"class": type(policy).__name__, "arguments": dict(arguments)}


def prove(policy: ExitPolicy, name: str, arguments: Mapping[str, Any]) -> None:
    """Make the policy as a bundle does, alone and with its arguments as JSON has them, and compare the scores.

    Raises InputError where it cannot be made so, or scores otherwise. Ours are held by tests.
    """
    if type(policy) is MaxProbability:
        return
    asked = {
        **policy_record(policy, arguments),
        "file": str(policy_file(policy).resolve()),
        "blocked": _BLOCKED,
        "logits": _LOGITS.tolist(),
    }
    command = [sys.executable, "-IB", "-c", _PROGRAM]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it said nothing"]
        raise InputError(
            f"exit_policy: {name} cannot run in a bundle, where its file stands alone: {words[-1]}; let the file need "
            "numpy and nothing else, the class stand in it under its own name, and arguments be what JSON has"
        )
    wanted = policy.scores({"logits": _LOGITS[None]})[0]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if not np.allclose(found, wanted, rtol=_SAME, atol=_SAME):
        raise InputError(
            f"exit_policy: {name} scores {found} in a bundle and {wanted.tolist()} here; see `nas check` on it"
        )
