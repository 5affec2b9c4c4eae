"""Compiling with TVM: which compiler, which targets, and the same numbers for every kind of operator."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import Target, load, names
from nas.deploy import tvm as module
from nas.deploy.onnx import to_onnx
from nas.deploy.tvm import Compiler, available, compiler, to_tvm
from nas.devices.runners.tvm_runner import Tvm
from nas.errors import InputError
from tests.nas.deploy.small_networks import one_exit, random_inputs, random_weights, reference, singles

HERE = {"kind": "llvm", "num-cores": 1}
SINGLES = singles()

needs_tvm = pytest.mark.skipif(not available()[0], reason=available()[1])
needs_compiler = pytest.mark.skipif(compiler().command is None, reason=compiler().reason)


def executable(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def empty_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without compilers; what is put into the folder is on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return tmp_path


@needs_tvm
@needs_compiler
@pytest.mark.parametrize("name", SINGLES)
def test_libraries_compute_what_numpy_computes(name: str, tmp_path: Path) -> None:
    network = SINGLES[name]
    weights, inputs = random_weights(network), random_inputs(network)
    to_tvm(to_onnx(network, weights), HERE, tmp_path / "model.so")
    outputs = Tvm(Target("host", "tvm")).load(tmp_path / "model.so")(*inputs.values())
    expected = reference(network, weights, inputs)
    for output, index in zip(outputs, network.exits, strict=True):
        np.testing.assert_allclose(output, expected[network.ops[index].name], rtol=1e-5, atol=2e-6)


@needs_tvm
@needs_compiler
def test_a_library_leaves_the_process_the_cores_that_it_had(tmp_path: Path) -> None:
    """Left to itself, TVM keeps the calling thread on one core, and with it all that a run computes afterwards."""
    network = SINGLES["conv"]
    to_tvm(to_onnx(network, random_weights(network)), HERE, tmp_path / "model.so")
    program = (
        "import sys, os; from pathlib import Path; import numpy as np; before = os.sched_getaffinity(0)\n"
        "from nas.devices.runners.tvm_library import load\n"
        "shape = tuple(map(int, sys.argv[2:])); main = load(Path(sys.argv[1]).read_bytes(), 1, 'it')\n"
        "main(np.zeros(shape, np.float32)); sys.exit(os.sched_getaffinity(0) != before)"
    )
    shape = [str(size) for size in (1, *network.ops[0].shape)]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "model.so"), *shape], check=False)
    assert done.returncode == 0


@needs_tvm
def test_threads_may_compile_at_the_same_time(tmp_path: Path) -> None:
    data = to_onnx(SINGLES["conv"], random_weights(SINGLES["conv"]))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: to_tvm(data, HERE, tmp_path / f"{number}.so"), range(8)))
    assert len(list(tmp_path.iterdir())) == 8


@needs_tvm
def test_tvm_accepts_the_target_of_every_device() -> None:
    import tvm

    targets = {name: load(name).tvm_target for name in names()}
    for name, target in targets.items():
        if target is not None:
            assert str(tvm.target.Target(dict(target)).kind) == target["kind"], name


@needs_tvm
@needs_compiler
def test_a_library_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    network = one_exit()
    data = to_onnx(network, random_weights(network))
    broken = Compiler(("false",), "a compiler that fails")
    with pytest.raises(InputError, match=r"a compiler that fails could not link"):
        to_tvm(data, HERE, tmp_path / "new" / "model.so", broken)
    assert list(tmp_path.rglob("*.so")) == []
    to_tvm(data, HERE, tmp_path / "new" / "model.so")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.so"]


@needs_tvm
def test_what_cannot_be_compiled_is_said(tmp_path: Path) -> None:
    network = one_exit()
    weights = random_weights(network)
    data = to_onnx(network, weights)
    path = tmp_path / "model.so"
    linker = Compiler(("false",), "none")
    with pytest.raises(InputError, match="'cuda' can be compiled here, but not checked"):
        to_tvm(data, {"kind": "cuda", "arch": "sm_87"}, path, linker)
    with pytest.raises(InputError, match=r"TVM refuses the target .*bogus"):
        to_tvm(data, {"kind": "llvm", "bogus": 1}, path, linker)
    with pytest.raises(InputError, match="'image' has a symbolic batch"):
        to_tvm(to_onnx(network, weights, batch=None), HERE, path, linker)


@needs_tvm
def test_without_a_compiler_the_reason_is_given(empty_path: Path) -> None:
    found = compiler()
    assert found.command is None
    assert "g++" in found.reason
    with pytest.raises(InputError, match="no C"):
        found.link("model.so", [])


def test_without_tvm_the_reason_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "available", lambda: (False, "the package apache-tvm is not installed"))
    with pytest.raises(InputError, match="cannot compile with TVM: the package apache-tvm is not installed"):
        to_tvm(b"", HERE, tmp_path / "model.so")


def test_the_users_compiler_comes_first(empty_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clang = executable(empty_path / "clang++")
    assert compiler().command is not None
    assert compiler().command[0] == str(clang)
    executable(empty_path / "g++")
    assert compiler().reason == "g++"
    executable(empty_path / "ccache")
    monkeypatch.setenv("CXX", "ccache g++-14")
    assert compiler().command[:2] == ("ccache", "g++-14")
    monkeypatch.setenv("CXX", "not-there")
    assert compiler().reason == "g++"


def test_a_foreign_processor_needs_a_compiler_of_its_own(empty_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triple = "aarch64-linux-gnu" if os.uname().machine != "aarch64" else "x86_64-linux-gnu"
    executable(empty_path / "g++")
    monkeypatch.setenv("CXX", "g++")
    assert compiler(triple).command is None
    assert triple in compiler(triple).reason
    executable(empty_path / f"{triple}-g++")
    assert compiler(triple).reason == f"{triple}-g++"


def test_zig_links_for_linux_but_not_for_what_it_has_no_library_of(
    empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "ziglang" else None)
    found = compiler("aarch64-linux-gnu")
    assert found.command is not None
    assert found.command[1:6] == ("-m", "ziglang", "cc", "-target", "aarch64-linux-gnu.2.17")
    assert compiler("arm64-linux-android").command is None
    assert compiler("arm64-apple-macos").command is None
