"""How does a stage have something done for many networks? By the experiment's executor, held to what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from nas.errors import InputError
from nas.run.context import Context
from nas.search.executors.base import Executor, Failure, HasWorkers

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_NOTHING: Final = "nothing"


class Asking:
    """The executor of a run's experiment, made now; what ought to be known of its workers is said. To be closed."""

    def __init__(self, context: Context) -> None:
        spec = context.experiment.search.executor
        self._name = spec.name
        self._executor: Executor = spec.load()(**spec.arguments)
        if isinstance(self._executor, HasWorkers) and self._executor.remark:
            context.voice.note(self._executor.remark)

    @property
    def elsewhere(self) -> bool:
        """Whether it is known that tasks are done in other processes."""
        return isinstance(self._executor, HasWorkers) and self._executor.elsewhere

    def __call__(
        self, task: Callable[[Item], Answer], items: Sequence[Item], belongs: Callable[[Any, Item], bool]
    ) -> Iterator[Answer | Failure]:
        """What a task gives for each of several networks, in their order; `belongs` knows the answer to an item.

        Raises InputError where the executor does not answer what it was asked.
        """
        answered = iter(self._executor.map(task, items))
        for number, item in enumerate(items):
            outcome = next(answered, _NOTHING)
            if isinstance(outcome, str) or not (isinstance(outcome, Failure) or belongs(outcome, item)):
                raise InputError(
                    f"search.executor: {self._name} answered network {number} of {len(items)} with {outcome!r:.80}; "
                    "it has to yield one answer per item, in the order of the items: see `nas check` on it"
                )
            yield outcome

    def close(self) -> None:
        """End what the executor has begun."""
        self._executor.close()
