"""Train the shared weights once; the search and the winners start from them.

Writes supernet.safetensors, which is also the checkpoint: weights, optimiser and step together, so that a killed
training goes on as if it had not stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nas.process.files import PLANS, SUPERNET, atomic_write_bytes, atomic_write_json
from nas.process.interrupt import stop_if_asked
from nas.run.context import Context
from nas.run.reuse import take_weights
from nas.tasks.image_classification.augment import Augmentation, default_augmentation

if TYPE_CHECKING:
    from nas.nn.batches import TrainingSet
    from nas.search.evaluators.supernet import SupernetEvaluator
    from nas.supernet.training import SupernetTrainer

#: A checkpoint at least this many times per training; each costs a few milliseconds.
_CHECKPOINTS = 20


def training_set(context: Context, augment: bool, part: Literal["train", "arch"] = "train") -> TrainingSet:
    """The run's training images, or those kept for architecture, as a training loop reads them."""
    from nas.nn.batches import TrainingSet

    data = context.data
    augmentation = default_augmentation(context.experiment.data.name) if augment else Augmentation()
    return TrainingSet(data.raw_images(part), data.labels(part), data.preprocessing, augmentation)


def planned_steps(
    context: Context, name: str, most: int, max_time_s: float | None, time_steps: Callable[[], list[float]]
) -> int:
    """How many steps a training takes: `most`, or as many as fit into `max_time_s` at the speed of the first ones.

    The answer is written down, so that a resumed training has the same length.
    """
    from nas.nn.loop import steps_within

    if max_time_s is None:
        return most
    path = context.path(PLANS)
    plans: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    if name not in plans:
        plans[name] = steps_within(max_time_s, time_steps(), most)
        atomic_write_json(path, plans)
        if plans[name] < most:
            context.console.print(f"[yellow]{name}: {plans[name]} of {most} steps fit into {max_time_s:.0f} s[/]")
    return plans[name]


@contextmanager
def steps_progress(context: Context, what: str, steps: int, done: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar over training steps; gives the function (step, loss) that moves it, and stops a run if asked."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("loss {task.fields[loss]:.3f}"), console=context.console, transient=True) as bar:
        task = bar.add_task(what, total=steps, completed=done, loss=float("nan"))

        def report(step: int, loss: float) -> None:
            stop_if_asked()
            bar.update(task, completed=step, loss=loss)

        yield report


def train_supernet(context: Context) -> None:
    """Train to the last planned step, from the checkpoint if there is one."""
    from nas.nn import native

    path = context.path(SUPERNET)
    if context.experiment.supernet.reuse is not None and not path.exists():
        take_weights(context.experiment, context.run, context.data.splits.record())
        context.console.print(f"shared weights of {context.experiment.supernet.reuse}", markup=False)
    trainer = _trainer(context)
    context.run.log("depthwise", compiled=native.available())
    state = trainer.load(path.read_bytes()) if path.exists() else trainer.start()
    with steps_progress(context, "supernet", trainer.recipe.steps, state.step) as report:
        trainer.run(
            state,
            every=max(1, trainer.recipe.steps // _CHECKPOINTS),
            checkpoint=lambda reached: atomic_write_bytes(path, trainer.save(reached)),
            progress=report,
        )


def _trainer(context: Context) -> SupernetTrainer:
    from nas.nn.loop import Recipe
    from nas.supernet.training import SupernetTrainer

    settings = context.experiment.supernet
    data = training_set(context, settings.augment)

    def trainer(steps: int) -> SupernetTrainer:
        recipe = Recipe(
            steps, settings.batch_size, settings.learning_rate, weight_decay=settings.weight_decay,
            label_smoothing=settings.label_smoothing,
        )  # fmt: skip
        return SupernetTrainer(context.space, data, recipe, context.seed("supernet"), settings.random_subnets)

    most = settings.epochs * (len(data) // settings.batch_size)
    return trainer(planned_steps(context, "supernet", most, settings.max_time_s, lambda: trainer(most).time_steps()))


def load_supernet(context: Context) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """The trained shared weights by name."""
    from nas.supernet.training import shared_weights

    trainer = _trainer(context)
    return dict(shared_weights(trainer.load(context.path(SUPERNET).read_bytes())))


def load_evaluator(context: Context, images: int) -> SupernetEvaluator:
    """The evaluator that judges networks on the first `images` validation images of the run's order."""
    from nas.search.evaluators.supernet import SupernetEvaluator

    calibration = training_set(context, False).sample(
        context.experiment.search.calibration_images, context.seed("batch-norm")
    )
    validation = context.data.raw_images("val")[context.order("val")[:images]]
    return SupernetEvaluator(
        context.space, load_supernet(context), calibration, validation, context.data.preprocessing.apply
    )
