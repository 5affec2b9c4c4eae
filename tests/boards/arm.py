"""A board with an ARM processor to test with, without a board: Debian's aarch64 user-land under qemu-user.

It runs real ARM code, for numbers and never for times. Nothing is installed on this machine and no rights are needed:
Debian's packages come from where this machine's own come from, and are unpacked into a cache folder with the wheels of
numpy, ONNX Runtime and TVM, of TVM its runtime alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from tests.documents import ROOT

EMULATOR: Final = "qemu-aarch64-static"
#: The processor of a Raspberry Pi 4; others, from cortex-a53 to neoverse-n1 and max, give the same numbers.
PROCESSOR: Final = "cortex-a72"
CONSTRAINTS: Final = ROOT / "constraints.txt"
_DEBIAN: Final = ("python3-minimal", "libpython3-stdlib", "libgomp1", "libstdc++6")
_WHEELS: Final = ("numpy", "onnxruntime", "apache-tvm", "apache-tvm-ffi", "ml_dtypes", "typing_extensions")
_PLATFORMS: Final = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64")
#: TVM's compiler is most of its wheel; without it TVM is the runtime that a board has.
_LEFT_OUT: Final = ("tvm/lib/libtvm_compiler.so",)
#: The emulator shows files of the user-land in place of this machine's. ONNX Runtime's processor detection reads this
#: one, and dereferences a null pointer where nothing in it is of an ARM processor.
_CPUINFO: Final = """\
processor\t: {0}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
_CORES: Final = 4


class Unavailable(RuntimeError):
    """The packages cannot be had here; the message says which and why."""


@dataclass(frozen=True)
class Emulated:
    """The emulated machine: `f"{command} {python} ..."` starts its Python, whose standard streams are those of a pipe.

    `root` is its file system. What it does not find there it takes from this machine, and it can start no program of
    its own: its Python may fork, but not run `sys.executable`.
    """

    command: str
    python: str
    root: Path

    @property
    def line(self) -> list[str]:
        """The same as words."""
        return [*shlex.split(self.command), self.python]


def missing() -> str:
    """Why it cannot be made here, or nothing."""
    if not sys.platform.startswith("linux"):
        return "qemu-user needs Linux"
    absent = [name for name in (EMULATOR, "apt-get", "dpkg-deb") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed (apt-get install qemu-user-static)" if absent else ""


def make(folder: Path | None = None) -> Emulated:
    """The machine in a folder, `hwnas-tests/arm` in the user's cache unless given; made there if it is not yet.

    That takes some 10 seconds and 150 MB of downloads, once per set of versions in `constraints.txt`; an interrupted
    one goes on where it was. `missing()` must be empty. Raises Unavailable where packages cannot be downloaded.
    """
    folder = folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwnas-tests" / "arm"
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / f"root-{_version()}"
    with _locked(folder):
        if not root.is_dir():
            for old in folder.glob("root-*"):
                shutil.rmtree(old)
            _build(folder, root)
    python = next((root / "usr" / "bin").glob("python3.*"))
    return Emulated(shlex.join([EMULATOR, "-cpu", PROCESSOR, "-L", str(root)]), str(python), root)


def _build(folder: Path, root: Path) -> None:
    """Make `root` from the ground up; it appears when it is complete."""
    growing, wheels = folder / "growing", folder / "wheels"
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir()
    for package in _debian_packages(folder / "apt"):
        subprocess.run(["dpkg-deb", "--extract", package, growing], check=True)
    version = next((growing / "usr" / "bin").glob("python3.*")).name.removeprefix("python")
    _download(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", f"--dest={wheels}"]
        + [f"--constraint={CONSTRAINTS}", f"--python-version={version}"]
        + [f"--platform={platform}" for platform in _PLATFORMS]
        + list(_WHEELS)
    )
    for wheel in wheels.glob("*.whl"):
        with ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name not in _LEFT_OUT]
            archive.extractall(growing / "usr" / "lib" / "python3" / "dist-packages", names)
    (growing / "proc").mkdir(exist_ok=True)
    (growing / "proc" / "cpuinfo").write_text("".join(_CPUINFO.format(core) for core in range(_CORES)))
    growing.rename(root)
    for finished in (folder / "apt", wheels):
        shutil.rmtree(finished)


def _debian_packages(folder: Path) -> list[Path]:
    """Download Debian's packages for aarch64, with all they depend on, as apt would for an empty machine."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "apt.conf").write_text(
        f"""\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
APT::Sandbox::User "";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""
    )
    # Which of the machine's sources have no packages for ARM does not matter as long as one has them.
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    subprocess.run(["apt-get", "update", "--quiet=2"], env=environment, capture_output=True, check=False)
    _download(["apt-get", "install", "--quiet=2", "--yes", "--download-only", *_DEBIAN], environment)
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _download(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable(f"packages for aarch64 cannot be downloaded: {said}")


def _version() -> str:
    """Changes with what is installed."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.partition("==")[0] in _WHEELS]
    recipe = repr((_DEBIAN, _WHEELS, _LEFT_OUT, _CPUINFO, _CORES, pins))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time makes it; the others wait and find it made."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
