"""Builders: from a network and its weights to the files that a runner loads.

ONNX segments are always there, since they are what runs anywhere; other builders begin with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from hardware_profiles import DeviceProfile, Target
from nas.deploy.artefact import Artefact
from search_spaces.ir import Network
from search_spaces.passes import Weights


class Builder(Protocol):
    """Makes what one target's runner loads; `target` and the `profile` of its device are given when it is made.

    Nothing of the device need be within reach. `requirement` says why it cannot build here, empty where it can.
    """

    @property
    def requirement(self) -> str: ...

    def build(self, network: Network, weights: Weights, folder: Path) -> Artefact:
        """Write a file per segment into a folder, which may exist; raises InputError for what it cannot build."""


@dataclass(frozen=True)
class OnnxBuilder:
    """ONNX models, one per segment, for calls of the target's batch."""

    target: Target
    profile: DeviceProfile

    @property
    def requirement(self) -> str:
        """ONNX needs nothing."""
        return ""

    def build(self, network: Network, weights: Weights, folder: Path) -> Artefact:
        """Write `exit_0.onnx`, `exit_1.onnx`, ..."""
        from nas.deploy.onnx import export_segments

        return Artefact(folder, export_segments(network, weights, folder, self.target.batch))


@dataclass(frozen=True)
class TvmBuilder:
    """Shared libraries compiled by TVM for the processor that the profile describes."""

    target: Target
    profile: DeviceProfile

    @property
    def requirement(self) -> str:
        """TVM, a target that it compiles for, and a C++ compiler that links for the device."""
        from nas.deploy.tvm import objection

        return objection(self._description)

    @property
    def _description(self) -> Mapping[str, Any]:
        return {**(self.profile.tvm_target or {}), "num-cores": self.target.threads}

    def build(self, network: Network, weights: Weights, folder: Path) -> Artefact:
        """Write `exit_0.so`, `exit_1.so`, ...; raises InputError without TVM or a compiler, and where TVM refuses."""
        from nas.deploy.onnx import export_segments
        from nas.deploy.tvm import segments_to_tvm

        with TemporaryDirectory() as place:
            segments = export_segments(network, weights, Path(place), self.target.batch)
            return Artefact(folder, segments_to_tvm(segments, Path(place), self._description, folder))
