"""What runs on a board: it answers messages on its standard input and output, until the pipe ends.

A host starts Python there, sends this file and those that it needs, and nothing is installed: they stay in memory. What
times networks is what times them on the host. Needs Python 3.8, numpy, and a runtime.
"""

from __future__ import annotations

import errno
import importlib.abc
import importlib.machinery
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nas.devices.board.channel import Channel
    from nas.devices.timing.cascades import CascadeReadings

#: Sets of samples that are kept.
_SAMPLES: Final = 4


class Sent(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds modules among sources that were sent; the packages above them are empty."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = dict(sources)
        for name in sources:
            while "." in name:
                name = name.rpartition(".")[0]
                self._sources.setdefault(name, "")
        self._packages = {name.rpartition(".")[0] for name in self._sources}

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """The module, if it was sent."""
        if name not in self._sources:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=name in self._packages)

    def get_source(self, name: str) -> str:
        """What was sent."""
        return self._sources[name]

    def is_package(self, name: str) -> bool:
        """Whether modules below it were sent."""
        return name in self._packages


class Board:
    """What a host asks for, by the name of the message."""

    def __init__(self, channel: Channel) -> None:
        from nas.devices.board import kept_files

        self._channel, self._files = channel, kept_files
        self._folder = kept_files.folder()
        self._parts: dict[str, bytearray] = {}
        self._opened: dict[str, Any] = {}
        self._samples: dict[str, Any] = {}

    def close(self, names: Sequence[str]) -> None:
        """Forget networks."""
        for name in names:
            self._opened.pop(name, None)

    def has_samples(self, sha256: str) -> bool:
        """Whether samples are here."""
        return sha256 in self._samples

    def facts(self, measure: bool, runner: str, provider: str = "cpu") -> dict[str, Any]:
        """What this machine is; `measure` also finds what it reaches at most, which takes seconds."""
        from dataclasses import asdict

        from hardware_profiles import host
        from nas.devices import system
        from nas.process import facts, versions

        profile = host.detect(measure=measure).to_dict()
        return {
            "identity": host.identity(),
            "profile": profile,
            "cores_used": len(facts.cores_used()),
            "shown": asdict(system.shown()),
            "versions": dict(versions.installed(versions.OF_READINGS)),
            "runtime": _runtime(runner).version() if runner else "",
            "objection": _runtime(runner).objection(provider) if runner else "",
        }

    def missing(self, sha256: Sequence[str]) -> list[str]:
        """Which of these files are to be sent."""
        return [each for each in sha256 if self._files.kept(self._folder, each) is None]

    def file(self, sha256: str, begin: int, data: bytes, end: bool) -> None:
        """A piece of a file."""
        part = self._parts.setdefault(sha256, bytearray())
        del part[begin:]
        part += data
        if end:
            del self._parts[sha256]
            self._files.keep(self._folder, sha256, bytes(part))

    def samples(self, sha256: str, data: Any) -> None:
        """Keep samples [n, 1, ...] as long as this session lasts."""
        while len(self._samples) >= _SAMPLES:
            del self._samples[next(iter(self._samples))]
        self._samples[sha256] = list(data)

    def open(self, name: str, segments: Sequence[Mapping[str, Any]], target: Mapping[str, Any],
             thresholds: Sequence[float | None], policy: Mapping[str, Any]) -> None:  # fmt: skip
        """Load the segments of a network."""
        from nas.deploy.cascade import Cascade

        runtime, programs = _runtime(target["runner"]), []
        for segment in segments:
            data = self._files.kept(self._folder, segment["sha256"])
            if data is None:
                raise self._files.Cut(f"the file {segment['file']} is not here any more")
            programs.append(runtime.load(data, target["threads"], segment["file"], target["provider"]))
        self._opened[name] = Cascade(
            programs,
            [segment["takes"] for segment in segments],
            [segment["outputs"] for segment in segments],
            thresholds,
            _policy(policy),
        )

    def run(self, name: str, sample: Any) -> dict[str, Any]:
        """The logits that answer one sample, and their exit."""
        logits, exit_ = self._opened[name](sample)
        return {"logits": logits, "exit": exit_}

    def run_all(self, name: str, batch: Any) -> list[Any]:
        """The logits of all exits."""
        return list(self._opened[name].run_all(batch))

    def leaving(self, name: str, samples: str) -> list[int]:
        """The exits at which samples leave."""
        return [self._opened[name](sample)[1] for sample in self._samples[samples]]

    def time(self, names: Sequence[str], streams: Sequence[str], samples: str, plan: Any,
             reference: str | None) -> dict[str, Any]:  # fmt: skip
        """Readings of networks, taken together while nothing else of ours computes or measures here."""
        from dataclasses import asdict

        from nas.devices import system
        from nas.devices.timing.cascades import time_cascades
        from nas.process import versions
        from nas.process.machine import measuring

        cascades = {name: self._opened[name] for name in names}
        watched = None if reference is None else self._opened[reference]
        with measuring(self._channel.waits):
            self._channel.goes_on()
            before = system.shown()
            read: Mapping[str, CascadeReadings] = time_cascades(
                cascades, streams, self._samples[samples], plan, watched
            )
            after = system.shown()
        return {
            "readings": dict(read),
            "before": asdict(before),
            "after": asdict(after),
            "versions": dict(versions.installed(versions.OF_READINGS)),
        }


def _runtime(runner: str) -> Any:
    if runner == "onnxruntime":
        from nas.devices.runners import onnx_session

        return onnx_session
    from nas.devices.runners import tvm_library

    return tvm_library


def _policy(record: Mapping[str, Any]) -> Any:
    """Make an exit policy from its file, as a bundle does."""
    namespace: dict[str, Any] = {"__name__": "policy"}
    exec(compile(record["source"], "<exit policy>", "exec"), namespace)
    return namespace[record["class"]](**record["arguments"])


def _failure(error: Exception) -> dict[str, str]:
    """What went wrong, by what a host can do about it."""
    if isinstance(error, ImportError):
        return {"kind": "missing", "text": str(error)}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return {"kind": "full", "text": f"{error.strerror}{f': {error.filename}' if error.filename else ''}"}
    kind = type(error).__name__
    if kind in ("Refused", "Cut", "Closed"):
        return {"kind": kind.lower(), "text": str(error)}
    last = "".join(traceback.format_exception(type(error), error, error.__traceback__)).strip().splitlines()
    return {"kind": "failed", "text": f"{kind}: {error} ({' '.join(line.strip() for line in last[-3:-1])})"}


class _Answering:
    """A context in which a question is answered; whatever it raises is the answer, and the host decides."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            self._channel.say({"failure": _failure(error)})
        return isinstance(error, Exception)


def serve(channel: Channel) -> None:
    """Answer messages until the pipe ends."""
    board = Board(channel)
    while True:
        asked = channel.hear()
        with _Answering(channel):
            work: Callable[..., Any] = getattr(board, asked.pop("ask"))
            with channel.busy():
                answer = work(**asked)
            channel.say({"answer": answer})


def main(sources: Mapping[str, str], alive_s: float) -> None:
    """Answer on standard input and output; what anything else prints goes to standard error."""
    read, write = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    # The working directory may hold files called like modules.
    sys.path[:] = [place for place in sys.path if place]
    sys.meta_path.insert(0, Sent(sources))
    from nas.devices.board.channel import Channel

    serve(Channel(read, write, alive_s))
