"""The cell space trains: its edges are operator choices of a supernet, equal to the networks they stand for."""

from __future__ import annotations

import numpy as np

from nas.supernet.elastic import Supernet
from search_spaces.nasbench201 import nasbench201
from tests.nas.supernet.test_elastic import check_equal

GENOMES = np.array([
    [3, 1, 2, 4, 3, 1],  # every edge in use, every operator once
    [2, 0, 3, 0, 0, 4],  # one path through all nodes
    [0, 0, 0, 3, 0, 0],  # one edge
    [0, 0, 0, 0, 0, 0],  # a cell that is left out
])  # fmt: skip


def test_edges_of_a_supernet_equal_extracted_networks() -> None:
    check_equal(nasbench201((2, 4, 4), 3, channels=4, cells=1), ("train",), GENOMES)


def test_a_cell_is_six_choices_of_four_operators_and_nothing() -> None:
    plans = Supernet(nasbench201((2, 4, 4), 3, channels=4, cells=1)).plans
    edges = [plan for plan in plans if ".edge" in plan.slot.name]
    assert len(edges) == 18
    assert all(len(plan.unions) == 4 and plan.optional for plan in edges)
