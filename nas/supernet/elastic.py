"""All networks of a space as one compiled program: the genome enters as integers known at run time.

A slot runs its largest tensors, masked (`masks`). An absent slot and an operator choice's other entries are branches
not taken. With gates (`gated`) an absent slot runs too, and what it would add is multiplied by what it counts; of an
operator choice's entries the chosen one alone runs, or all of them as a mixture (DARTS, Liu et al. 2019, arXiv
1806.09055).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from nas.nn.interpreter import Arrays, Mode, to_ir, to_private
from nas.nn.layers import switch
from nas.nn.normalisation import scale_gradient
from nas.supernet.gated import GatedPass
from nas.supernet.gates import SlotGates
from nas.supernet.masks import MaskedPass, Program, Watch, program
from nas.supernet.union import SlotPlan, plan
from search_spaces.slots import IMAGE, Genomes, SearchSpace, exit_positions


@dataclass(frozen=True)
class Choices:
    """What genomes mean to a supernet: per slot the combination [n, slots], per exit position whether it is legal
    [n, positions]. Exits that the genome turns off are on here: they do not change what the others see."""

    combination: NDArray[np.int32]
    legal: NDArray[np.bool_]


@dataclass(frozen=True)
class Gates:
    """A weight for every option of every gene, `values` [genes, options]; `mixture` runs all entries of a choice."""

    values: Array
    mixture: bool = False


class Supernet:
    """The networks of a space with shared weights; `watch` sees every pass.

    Raises SpaceError where the combinations of a slot cannot share weights.
    """

    def __init__(self, space: SearchSpace, watch: Watch | None = None) -> None:
        self.space, self.watch = space, watch
        self.positions = exit_positions(space)
        sites = dict(zip(self.positions, space.exit_sites, strict=True))
        self.plans = tuple(plan(slot, sites.get(number)) for number, slot in enumerate(space.slots))
        self._programs = [tuple(program(union) for union in plan.unions) for plan in self.plans]
        self.gates = tuple(SlotGates(plan, sites.get(number)) for number, plan in enumerate(self.plans))

    def choices(self, genomes: Genomes) -> Choices:
        """Tables of the genomes [n, genes], which need not be canonical."""
        genomes = np.asarray(genomes)
        canonical = self.space.canonical(genomes)
        combination = np.stack([plan.on[plan.slot.index(canonical)] for plan in self.plans], axis=1)
        # An exit is legal if it stays on when it is the only one, whatever the limit on their number.
        alone = np.repeat(genomes[None], len(self.positions), axis=0)
        switches = [(n, site, site.gene) for n, site in enumerate(self.space.exit_sites) if site.gene is not None]
        for _, site, gene in switches:
            alone[:, :, gene] = site.off
        for position, site, gene in switches:
            alone[position, :, gene] = site.options[0]
        alone = self.space.canonical(alone.reshape(len(alone) * len(genomes), genomes.shape[1])).reshape(alone.shape)
        legal = []
        for there, position in zip(alone, self.positions, strict=True):
            here = self.plans[position]
            legal.append(here.entry[here.slot.index(there)] < len(here.unions))
        return Choices(combination.astype(np.int32), np.stack(legal, axis=1))

    def forward(
        self,
        params: Arrays,
        stats: Arrays,
        images: Array,
        combination: Array,
        mode: Mode = "eval",
        gradient_scales: tuple[Array, Array] | None = None,
        gates: Gates | None = None,
    ) -> tuple[Array, dict[str, Array]]:
        """Logits [positions, n, classes] of images [n, channels, height, width], and what was found on the way: new
        statistics if calibrating, and the totals of what watches.

        `combination` int32 [slots] is a row of `Choices`; positions that are not legal there hold meaningless numbers.
        `gradient_scales` [positions] twice multiply the gradients that come out of each head and those that come from
        behind it (`losses.equilibrium`). With `gates` (mode "train" alone) `combination` chooses which entry of an
        operator choice runs, and the gates say how much of everything counts.
        """
        found: dict[str, Array] = {} if self.watch is None else self.watch.totals(images)
        values = {IMAGE: to_private(images)}

        def slot(number: int, inputs: list[Array]) -> Array:
            if gates is not None:
                return self._gated_slot(number, params, inputs, combination[number], gates)
            return self._slot(number, params, stats, inputs, combination[number], mode, found)

        logits = []
        for number, here in enumerate(self.plans):
            inputs = [values[name] for name in here.slot.inputs]
            if number in self.positions:
                position = self.positions.index(number)
                if gradient_scales is not None:
                    name = here.slot.inputs[0]
                    inputs[0] = scale_gradient(inputs[0], gradient_scales[0][position])
                    values[name] = scale_gradient(values[name], gradient_scales[1][position])
                y = slot(number, inputs)
                logits.append(to_ir(y).reshape(len(images), -1))
            else:
                values[here.slot.name] = slot(number, inputs)
        return jnp.stack(logits), found

    def _slot(
        self,
        number: int,
        params: Arrays,
        stats: Arrays,
        inputs: list[Array],
        combination: Array,
        mode: Mode,
        found: dict[str, Array],
    ) -> Array:
        here, programs = self.plans[number], self._programs[number]
        # An exit is never skipped: where it is off, `on` has turned it on, and where illegal its logits are unused.
        can_be_absent = here.optional and here.slot.role == "body"
        if len(programs) == 1 and not can_be_absent:
            return MaskedPass(programs[0], combination, mode, found, self.watch)(params, stats, inputs)
        before = _statistics(here, stats) if mode == "calibrate" else {}
        if self.watch is not None:
            # Totals go through the branches, and grow in the one that is taken.
            before = {**found, **before}

        def branch(chosen: Program) -> Any:
            def run(inputs: list[Array]) -> tuple[Array, dict[str, Array]]:
                mine = dict(before)
                y = MaskedPass(chosen, combination, mode, mine, self.watch)(params, stats, inputs)
                return y, mine

            return run

        branches = [branch(program) for program in programs]
        if can_be_absent:
            branches.append(lambda inputs: (inputs[0], before))
        switched: tuple[Array, dict[str, Array]] = switch(jnp.asarray(here.entry)[combination], branches, inputs)
        found.update(switched[1])
        return switched[0]

    def _gated_slot(self, number: int, params: Arrays, inputs: list[Array], combination: Array, gates: Gates) -> Array:
        here, programs = self.plans[number], self._programs[number]
        shares = self.gates[number].shares(gates.values)
        hands_on = here.slot.role == "body" and here.shape == to_ir(inputs[0]).shape[1:]

        def entry(union: int) -> Array:
            return GatedPass(programs[union], shares.given(union), "train", {})(params, {}, inputs)

        def weighed(union: int) -> Array:
            # What is handed on where the slot is absent has no part in what an entry does.
            return shares.present[union] * (entry(union) - inputs[0] if hands_on else entry(union))

        if len(programs) == 1 and not (hands_on and here.optional):
            return entry(0)
        if len(programs) == 1:
            y = weighed(0)
        elif gates.mixture:
            y = sum((weighed(union) for union in range(1, len(programs))), weighed(0))
        else:
            branches: list[Callable[[], Array]] = [partial(weighed, union) for union in range(len(programs))]
            if here.optional and hands_on:
                branches.append(lambda: jnp.zeros_like(inputs[0]))
            y = switch(jnp.asarray(here.entry)[combination], branches)
        return inputs[0] + y if hands_on else y


def _statistics(here: SlotPlan, stats: Arrays) -> dict[str, Array]:
    """The statistics of a slot's batch norms, for branches that are not taken; neutral where there are none yet."""
    result = {}
    for union in here.unions:
        for member in union.members:
            if member.op.kind == "batch_norm":
                for param, neutral in (("mean", 0.0), ("variance", 1.0)):
                    name = f"{member.op.name}/{param}"
                    result[name] = stats.get(name, jnp.full(member.op.shape[0], neutral))
    return result
