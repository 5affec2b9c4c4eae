"""What a space promises of its slots: they are the network, numbered and named, and exits are switched one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.testing.laws import require
from search_spaces.ir import Network
from search_spaces.slots import IMAGE, SearchSpace, Slot, exit_positions, random_genomes, sizes, switched, with_exits

Ints = NDArray[np.int64]


def random_raw(space: SearchSpace, n: int, seed: int = 0) -> Ints:
    """Genomes drawn gene by gene, not canonical [n, genes]."""
    return np.random.default_rng(seed).integers(0, sizes(space), size=(n, len(space.genes)))


def names(network: Network) -> list[str]:
    """The names of a network's operators, without its inputs."""
    return [op.name for op in network.ops if op.kind != "input"]


def slots_are_in_order(space: SearchSpace) -> None:
    """The last slot alone is the final one, slots read earlier ones, and every gene is read with its size"""
    roles = [slot.role for slot in space.slots]
    require(
        roles.count("final") == 1 and roles[-1] == "final", f"the roles of the slots are {roles}", "end with one final"
    )
    known, read = {IMAGE}, set[int]()
    for slot in space.slots:
        require(set(slot.inputs) <= known, f"slot {slot.name} reads {slot.inputs}", f"read what is before: {known}")
        require(slot.name not in known, f"two slots are called {slot.name!r}", "give each slot its own name")
        known.add(slot.name)
        wanted = tuple(len(space.genes[gene].options) for gene in slot.genes)
        require(
            slot.sizes == wanted and len(set(slot.genes)) == len(slot.genes),
            f"slot {slot.name} has genes {slot.genes} of sizes {slot.sizes}",
            f"their sizes are {wanted}, and each is read once",
        )
        require(
            set(slot.operator_choice) <= set(range(len(slot.genes))),
            f"slot {slot.name} has the operator choice {slot.operator_choice}",
            "these are positions within its genes",
        )
        read |= set(slot.genes)
    unread = sorted(set(range(len(space.genes))) - read)
    require(not unread, f"genes {unread} are read by no slot", "leave them out")
    require(
        exit_positions(space) == tuple(i for i, role in enumerate(roles) if role != "body"),
        f"exit positions are {exit_positions(space)}",
        "they are the slots that are no body",
    )


def operators_bear_the_name_of_their_slot(space: SearchSpace) -> None:
    """Operators bear the name of their slot before a dot"""
    slots = {slot.name for slot in space.slots}
    for genome in random_genomes(space, 16, np.random.default_rng(3)).tolist():
        for name in names(space.decode(genome)):
            parts = name.split(".")
            require(
                any(".".join(parts[:n]) in slots for n in range(1, len(parts))),
                f"operator {name!r} does not bear the name of a slot before its dot",
                "begin its name with the `name` that the block is given",
            )


def slots_are_the_network(space: SearchSpace) -> None:
    """Slots one after the other are the network, operator by operator"""
    for genome in random_genomes(space, 8, np.random.default_rng(2)).tolist():
        network = space.decode(genome)
        parts, exits = _parts(space, genome)
        where = f"in {genome}"
        found = [name for part in parts for name in names(part)]
        require(found == names(network), f"{where} the slots have other operators than the network", "chain them")
        require(
            exits == [network.ops[index].name for index in network.exits],
            f"{where} the exits of the slots are {exits}",
            "let each exit slot return its answer",
        )
        for op in (op for part in parts for op in part.ops if op.kind != "input"):
            same = network.op(op.name)
            require(
                (op.kind, op.shape, op.attrs) == (same.kind, same.shape, same.attrs),
                f"{where} operator {op.name} of the slot alone is not that of the network",
                "build from inputs and values alone",
            )
        require(
            sum(part.macs for part in parts) == network.macs
            and sum(part.weight_bytes for part in parts) == network.weight_bytes,
            f"{where} the slots' MACs or weights do not add up",
            "share no operator between slots",
        )


def _parts(space: SearchSpace, genome: list[int]) -> tuple[list[Network], list[str]]:
    """The slots of a genome that are there, as networks, and the names of their answers."""
    shapes: dict[str, Any] = {IMAGE: space.input_shape}
    parts, exits = [], []
    for slot in space.slots:
        values = slot.values(genome)
        wanted = tuple(shapes[name] for name in slot.inputs)
        given = slot.input_shapes(values)
        require(given == wanted, f"slot {slot.name} says that it reads {given}", f"it reads {wanted} in {genome}")
        part = slot.network(values)
        if part is None:
            require(slot.role != "final", f"the final slot is absent in {genome}", "a network has to answer")
            if slot.role == "body":
                shapes[slot.name] = shapes[slot.inputs[0]]
            continue
        read = tuple(op.name for op in part.inputs)
        require(read == slot.inputs, f"slot {slot.name} reads {read}", f"read {slot.inputs}")
        out = part.ops[part.exits[0]]
        if slot.role == "body":
            shapes[slot.name] = out.shape
        else:
            exits.append(out.name)
        parts.append(part)
    return parts, exits


def slots_number_their_combinations(space: SearchSpace) -> None:
    """The index of a slot numbers its combinations, and every combination builds"""
    genomes = random_raw(space, 40)
    for slot in space.slots:
        combinations = list(slot.combinations())
        every = np.zeros((slot.count, len(space.genes)), np.int64)
        every[:, list(slot.genes)] = combinations
        right = len(combinations) == slot.count == len(set(combinations))
        right = right and slot.index(every).tolist() == list(range(slot.count))
        chosen = zip(genomes.tolist(), slot.index(genomes), strict=True)
        right = right and all(combinations[index] == slot.values(genome) for genome, index in chosen)
        require(right, f"slot {slot.name} numbers its combinations wrongly", "leave `Slot.index` as it is")
        _builds(slot, [slot.network(values) for values in combinations])


def _builds(slot: Slot, built: list[Network | None]) -> None:
    there = [part is not None for part in built]
    require(any(there), f"slot {slot.name} is absent in all of its combinations", "leave it out")
    require(slot.role != "final" or all(there), f"the final slot {slot.name} can be absent", "a network has to answer")
    require(slot.role != "exit" or not all(there), f"exit {slot.name} cannot be off", "give it an option without it")


def exits_are_switched_where_they_are_asked_for(space: SearchSpace) -> None:
    """Early exits are on where they are asked for, and nowhere else"""
    positions = exit_positions(space)
    largest = (sizes(space) - 1).tolist()
    for position, index in enumerate(positions[:-1]):
        slot = space.slots[index]
        asked = switched(space, largest, {position})
        early = ((p, space.slots[i]) for p, i in enumerate(positions[:-1]))
        on = [p for p, one in early if one.network(one.values(asked)) is not None]
        require(on == [position], f"asked for exit {position}, {on} are on", "give each exit a gene of its own")
        network = space.decode(with_exits(space, largest, {position}))
        own = [network.ops[e].name.startswith(f"{slot.name}.") for e in network.exits]
        require(
            own == [True, False],
            f"the largest network with exit {slot.name} alone has {len(network.exits)} exits",
            "let `canonical` keep an exit that is the only one",
        )
    bare = space.decode(with_exits(space, largest, ()))
    require(len(bare.exits) == 1, f"without early exits there are {len(bare.exits)} exits", "let every exit be off")
