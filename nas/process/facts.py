"""What is this machine like, in what the numbers of a run depend on?

The compiler of the optional kernel, cores, clocks and GPUs. Nothing heavy is imported: which device JAX trains on is
asked where JAX is loaded anyway.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ROOT: Final = Path("/")
_VERSION_WITHIN_S: Final = 10
#: What a governor has to be called for the clock to stay where it is.
STEADY: Final = "performance"


@dataclass(frozen=True)
class Facts:
    """What a run notes of the machine that it begins on.

    `compiler` is that of the optional kernel and None where the kernel is not used, `trains_on` the device that JAX
    takes, `cores_used` of `cores_present` those that this process may use; `governor` those of the used cores, None
    where it cannot be read; `unused_gpu` is a GPU that is there while JAX trains on the processor.
    """

    compiler: str | None
    trains_on: str
    cores_used: int
    cores_present: int
    governor: str | None
    unused_gpu: str | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What ought to be known before anything is trained or measured."""
        said = []
        if self.unused_gpu is not None:
            said.append(unused(self.unused_gpu, self.trains_on))
        if unsteady(self.governor):
            said.append(
                f"The frequency governor is {self.governor}, not `{STEADY}`: latencies depend on what ran before them; "
                "see docs/board.md."
            )
        return tuple(said)


def unused(gpu: str, trains_on: str) -> str:
    """The sentence about a GPU that nothing uses."""
    asked = os.environ.get("JAX_PLATFORMS", "")
    why = (
        f"JAX_PLATFORMS is {asked!r}" if asked else "the installed JAX does not see it; see docs.jax.dev, installation"
    )
    return f"{gpu} is here and is not used: JAX trains on {trains_on} ({why})."


def unsteady(governor: str | None) -> bool:
    """Whether clocks move; False where that cannot be read."""
    return governor is not None and governor != STEADY


def cores_used() -> tuple[int, ...]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def governor(system: Path = _ROOT / "sys") -> str | None:
    """The frequency governors of the cores that may be used; None where they cannot be read."""
    cpus = system / "devices/system/cpu"
    found = {text for core in cores_used() if (text := _text(cpus / f"cpu{core}/cpufreq/scaling_governor"))}
    return ", ".join(sorted(found)) or None


def gpus(root: Path = _ROOT) -> tuple[str, ...]:
    """The GPUs that a driver shows, by name where it tells."""
    models = (_model(path) for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")))
    named = tuple(filter(None, models))
    if named:
        return named
    nodes = [path for path in sorted((root / "dev").glob("nvidia*")) if re.fullmatch(r"nvidia\d+", path.name)]
    return tuple(f"a GPU (/{path.relative_to(root)})" for path in (*nodes, *sorted((root / "dev").glob("kfd"))))


def unused_gpu(platforms: Iterable[str], root: Path = _ROOT) -> str | None:
    """The GPUs that are here while JAX has only the processor; None where there is none, or it is used."""
    found = gpus(root)
    return ", ".join(found) if found and set(platforms) <= {"cpu"} else None


def kernel_compiler() -> str | None:
    """The C++ compiler that the optional kernel is compiled with, as a command; None where there is none."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def compiler_version(command: str) -> str:
    """What a compiler says of itself in its first line, or else its name."""
    try:
        done = subprocess.run(
            [command, "--version"], capture_output=True, text=True, check=True, timeout=_VERSION_WITHIN_S
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return command
    return next(iter(done.stdout.splitlines()), "").strip() or command


def _model(information: Path) -> str:
    found = re.search(r"^Model:\s*(.+)$", _text(information), re.MULTILINE)
    return found[1].strip() if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
