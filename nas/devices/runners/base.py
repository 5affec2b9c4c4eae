"""What a runner is: something that loads an artefact for one target and gives a program to call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from numpy.typing import NDArray

from nas.deploy.cascade import Cascade

if TYPE_CHECKING:
    from hardware_profiles import DeviceProfile, Target
    from nas.deploy.artefact import Artefact
    from nas.deploy.builders import Builder

Array = NDArray[Any]


class Program(Protocol):
    """A loaded artefact: arrays with the batch in front go in, in the order of its inputs, and its outputs come back.

    What is returned is the caller's own and is not overwritten by the next call.
    """

    def __call__(self, *inputs: Array) -> Sequence[Array]: ...


class Runner(Protocol):
    """A runtime set up as a target says: threads, batch, precision. Made with the target alone.

    `builder` is the class of what makes the files that it loads, `version` its name with the version number. Making a
    runner whose runtime is missing, or of another version than the target asks for, raises InputError.
    """

    builder: ClassVar[Callable[[Target, DeviceProfile], Builder]]

    def __init__(self, target: Target) -> None: ...

    @property
    def target(self) -> Target: ...

    @property
    def version(self) -> str: ...

    def load(self, artefact: Path) -> Program:
        """Load the file of a segment; raises InputError for one that it cannot run."""
        ...


def load_cascade(runner: Runner, artefact: Artefact) -> Cascade:
    """Load the segments of an artefact as one early-exit network."""
    return Cascade(
        [runner.load(path) for path in artefact.paths],
        [segment.takes for segment in artefact.segments],
        [segment.outputs for segment in artefact.segments],
        artefact.leaving,
        artefact.policy,
    )
