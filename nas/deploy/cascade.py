"""An early-exit network as a loop over its segments: run one, let the exit policy look at its answer, stop or go on.

This file is also copied into every bundle, so that what was measured is what is deployed. Therefore it needs Python
3.8, and nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Cascade:
    """Segments that run one after the other until one is confident enough.

    `programs[k]` takes the tensors named `takes[k]`, positionally, and returns those named `gives[k]`, the answer
    first. `thresholds` has one value per exit but the last: exit k answers if the `policy`'s score of it is at least
    `thresholds[k]`; infinity or None means never. The batch is one: samples of a batch would leave at different exits.
    """

    def __init__(
        self,
        programs: Sequence[Callable[..., Sequence[Array]]],
        takes: Sequence[Sequence[str]],
        gives: Sequence[Sequence[str]],
        thresholds: Sequence[float | None],
        policy: Any,
    ) -> None:
        if not len(programs) == len(takes) == len(gives) == len(thresholds) + 1:
            raise ValueError(
                f"{len(programs)} programs with {len(takes)} lists of inputs, {len(gives)} of outputs and "
                f"{len(thresholds)} thresholds: there must be one threshold less, and as many of the others"
            )
        self._policy = policy
        #: The answers [1, classes] of the exits that the last sample came to.
        self.answers: list[Array] = []
        self.thresholds = [math.inf if value is None else float(value) for value in thresholds] + [-math.inf]
        made = dict.fromkeys(takes[0], (-1, 0))
        if len(made) != 1:
            raise ValueError(f"the first segment takes {len(made)} tensors; a cascade has one input")
        # Where each segment finds its inputs: (segment, place among its outputs), -1 for the sample itself.
        self._steps: list[tuple[Callable[..., Sequence[Array]], list[tuple[int, int]]]] = []
        for number, program in enumerate(programs):
            missing = [name for name in takes[number] if name not in made]
            if missing:
                raise ValueError(f"segment {number} takes {missing[0]!r}, which no segment before it gives")
            self._steps.append((program, [made[name] for name in takes[number]]))
            made.update({name: (number, place) for place, name in enumerate(gives[number])})

    def __len__(self) -> int:
        return len(self._steps)

    def __call__(self, sample: Array) -> tuple[Array, int]:
        """The logits of the exit that answers, and its number; `sample` is [1, ...]."""
        outputs: list[Sequence[Array]] = []
        state, judge = self._policy.start(), self._policy.step
        for number, threshold in enumerate(self.thresholds):
            logits = self._step(number, sample, outputs)
            if threshold == -math.inf:
                break
            state, score = judge(state, {"logits": logits})
            if score >= threshold:
                break
        self.answers = [made[0] for made in outputs]
        return logits, number

    def decide(self, answers: Sequence[Array]) -> int:
        """The exit at which one sample leaves that has these answers [1, classes] at all exits."""
        state = self._policy.start()
        for number, threshold in enumerate(self.thresholds[:-1]):
            state, score = self._policy.step(state, {"logits": answers[number]})
            if score >= threshold:
                return number
        return len(self) - 1

    def run_all(self, batch: Array) -> list[Array]:
        """The logits of all exits, none of which stops; any batch that the programs take."""
        outputs: list[Sequence[Array]] = []
        return [self._step(number, batch, outputs) for number in range(len(self))]

    def run_to(self, sample: Array, last: int) -> Array:
        """The logits of exit `last`, as if it were the first to answer: every earlier one decides, in vain."""
        outputs: list[Sequence[Array]] = []
        state, judge = self._policy.start(), self._policy.step
        for number in range(last + 1):
            logits = self._step(number, sample, outputs)
            if number < len(self) - 1:
                # The decision is paid for, that to leave too: this is what is measured as the time to reach an exit.
                state, _ = judge(state, {"logits": logits})
        return logits

    def _step(self, number: int, sample: Array, outputs: list[Sequence[Array]]) -> Array:
        program, sources = self._steps[number]
        inputs = [sample if segment < 0 else outputs[segment][place] for segment, place in sources]
        made = program(*inputs)
        outputs.append(made)
        return made[0]
