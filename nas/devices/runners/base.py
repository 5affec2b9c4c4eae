"""What a runner is: something that loads an artefact for one target and gives a program to call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import Target
from nas.deploy.cascade import Cascade
from nas.devices.timing.measuring import Plan, measure
from nas.devices.timing.readings import Readings

if TYPE_CHECKING:
    from nas.deploy.onnx import SegmentFile

Array = NDArray[Any]


class Program(Protocol):
    """A loaded artefact: arrays with the batch in front go in, in the order of its inputs, and its outputs come back.

    What is returned is the caller's own and is not overwritten by the next call.
    """

    def __call__(self, *inputs: Array) -> Sequence[Array]: ...


class Runner(Protocol):
    """A runtime set up as a target says: threads, batch, precision.

    `suffix` is the ending of the artefacts it takes, `version` names it with the version number.
    """

    @property
    def target(self) -> Target: ...

    @property
    def suffix(self) -> str: ...

    @property
    def version(self) -> str: ...

    def load(self, artefact: Path) -> Program:
        """Load an artefact; raises InputError for one that it cannot run."""
        ...


def run(runner: Runner, artefact: Path, *inputs: Array) -> Sequence[Array]:
    """Load an artefact and run it once."""
    return runner.load(artefact)(*inputs)


def time(runner: Runner, artefact: Path, *inputs: Array, plan: Plan | None = None) -> Readings:
    """Load an artefact and take readings of one call with these inputs, by default on the threads of the target."""
    program = runner.load(artefact)
    return measure({"": lambda: program(*inputs)}, plan or Plan(threads=runner.target.threads))[""]


def load_cascade(
    runner: Runner, folder: Path, segments: Sequence[SegmentFile], thresholds: Sequence[float | None]
) -> Cascade:
    """Load the segments of a folder, ONNX models or libraries as the runner takes them, as one early-exit network."""
    return Cascade(
        [runner.load(folder / segment.file) for segment in segments],
        [segment.takes for segment in segments],
        [segment.outputs for segment in segments],
        thresholds,
    )


def random_inputs(shapes: Sequence[tuple[int, ...]], seed: int = 0) -> list[NDArray[np.float32]]:
    """Normally distributed float32 arrays of the given shapes, batch included: time does not depend on the content."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]
