"""What trainings of a run have in common: its images as a training set, a planned length, their steps told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nas.errors import InputError
from nas.process.files import atomic_write_json, read_json, understood
from nas.process.interrupt import stop_if_asked
from nas.process.machine import breathe
from nas.run.context import Context
from nas.tasks.image_classification.dataset import Augmentation

if TYPE_CHECKING:
    from nas.nn.batches import TrainingSet
    from nas.nn.loop import State


def training_set(context: Context, augment: bool, part: Literal["train", "arch"] = "train") -> TrainingSet:
    """The run's training images, or those kept for architecture, as a training loop reads them."""
    from nas.nn.batches import TrainingSet

    data = context.data
    augmentation = data.raw.augmentation if augment else Augmentation()
    return TrainingSet(data.raw_images(part), data.labels(part), data.preprocessing, augmentation)


def planned_steps(
    context: Context,
    path: Path,
    name: str,
    most: int,
    max_time_s: float | None,
    time_steps: Callable[[], list[float]],
) -> int:
    """How many steps a training takes: `most`, or as many as fit into `max_time_s` at the speed of the first ones.

    The answer is written to `path` under `name`, so that a resumed training has the same length. The first release
    kept the plans of all trainings in one file.
    """
    from nas.nn.loop import steps_within

    if max_time_s is None:
        return most
    own, shared = _plans(path), _plans(context.files.plans)
    if known := own.get(name) or shared.get(name):
        return known
    steps = steps_within(max_time_s, time_steps(), most)
    atomic_write_json(path, {**own, name: steps})
    if steps < most:
        context.voice.warning(f"{name}: {steps} of {most} steps fit into {max_time_s:.0f} s")
    return steps


def require_same_kernels(context: Context) -> None:
    """Refuse to compute on another backend or with other kernels than the run began with: its numbers would differ.

    Raises InputError. Runs of older releases did not note it.
    """
    from nas.nn import backend, native

    noted = read_json(context.files.environment, "restore it, or start anew")
    begun_on, here = noted.get("backend"), backend.name()
    if begun_on is not None and begun_on != here:
        raise InputError(
            f"{context.run.path} was begun on JAX's backend {begun_on}, and this process computes on {here}: results "
            f"would differ; go on where there is a {begun_on} (JAX_PLATFORMS chooses if there are several), or start "
            "anew with another --out"
        )
    begun = noted.get("compiled_kernels")
    if begun is None or begun == native.available():
        return
    has, remedy = ("has none", "put the compiler back on PATH") if begun else ("has one", "take it off PATH, unset CXX")
    raise InputError(
        f"{context.run.path} was begun {'with' if begun else 'without'} a C++ compiler, and this process {has}: "
        f"results would differ in their last digits; {remedy}, or start anew with another --out"
    )


def load_checkpoint(path: Path, load: Callable[[bytes], State]) -> State:
    """What a trainer's `load` makes of a checkpoint; raises InputError where it is damaged or of another training."""
    with understood(path, "delete it, and the training begins anew"):
        return load(path.read_bytes())


def _plans(path: Path) -> dict[str, int]:
    return read_json(path, "delete it, and the steps are counted again") if path.exists() else {}


@contextmanager
def steps_progress(context: Context, what: str, steps: int, done: int) -> Iterator[Callable[[int, float], None]]:
    """Tell of training steps; gives the function (step, loss) that does, and stops a run if asked."""
    with context.voice.steps(what, steps, done) as tell:

        def report(step: int, loss: float) -> None:
            stop_if_asked()
            breathe()
            tell(step, loss)

        yield report
