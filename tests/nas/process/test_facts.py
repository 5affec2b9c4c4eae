"""Facts of a machine: read from what a system shows, and warned of where they matter."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nas.process import facts
from nas.process.facts import Facts

STEADY = Facts("g++ 12", "cpu", 2, 2, "performance", None)


def shown(root: Path, *paths: str) -> Path:
    """A system that shows these files."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ((), ()),
        (("dev/nvidiactl", "dev/nvidia-uvm", "dev/dri/card0"), ()),
        (("dev/nvidia0", "dev/nvidia1", "dev/nvidiactl"), ("a GPU (/dev/nvidia0)", "a GPU (/dev/nvidia1)")),
        (("dev/kfd",), ("a GPU (/dev/kfd)",)),
    ],
)
def test_gpus_are_those_that_a_driver_shows(paths: tuple[str, ...], found: tuple[str, ...], tmp_path: Path) -> None:
    assert facts.gpus(shown(tmp_path, *paths)) == found
    assert facts.unused_gpu(["cpu"], tmp_path) == (", ".join(found) or None)
    assert facts.unused_gpu(["cuda"], tmp_path) is None


def test_a_gpu_goes_by_its_name_where_the_driver_tells_it(tmp_path: Path) -> None:
    shown(tmp_path, "dev/nvidia0", "proc/driver/nvidia/gpus/0000:01:00.0/information")
    file = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information"
    file.write_text("Model: \t\t NVIDIA H100 80GB\nIRQ: 16\n")
    assert facts.gpus(tmp_path) == ("NVIDIA H100 80GB",)


def test_what_makes_no_difference_is_not_warned_of() -> None:
    for governor in ("performance", None):
        assert replace(STEADY, governor=governor).warnings == ()


def test_a_governor_that_moves_the_clock_and_a_gpu_that_is_not_used_are_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    idle, moving = replace(STEADY, governor="powersave", unused_gpu="NVIDIA H100").warnings
    assert "NVIDIA H100 is here and is not used: JAX trains on cpu (the installed JAX does not see it" in idle
    assert "governor is powersave, not `performance`" in moving
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "(JAX_PLATFORMS is 'cpu')" in replace(STEADY, unused_gpu="NVIDIA H100").warnings[0]


def test_a_compiler_is_what_it_says_it_is(tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'c++ 99.1'\necho 'no warranty'\n")
    compiler.chmod(0o755)
    assert facts.compiler_version(str(compiler)) == "c++ 99.1"
    for broken in (str(tmp_path / "none"), str(tmp_path)):
        assert facts.compiler_version(broken) == broken


def test_the_kernel_is_compiled_with_the_compiler_that_the_user_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/opt/c++")
    assert facts.kernel_compiler() == "/opt/c++"
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", os.devnull)
    assert facts.kernel_compiler() is None
