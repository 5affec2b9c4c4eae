"""The Xavier table against its published figures, and tables that can't be."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from latency_models.choice_table import ChoiceTable, lightnas_xavier, load_choice_table
from search_spaces.lightnas import OPERATORS, lightnas
from search_spaces.slots import sizes


def stored(**arrays: Any) -> io.BytesIO:
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    return file


def test_the_xavier_table_fits_the_lightnas_space() -> None:
    table = lightnas_xavier()
    assert table.operators == OPERATORS
    assert table.table_s.shape == (len(sizes(lightnas((3, 224, 224), 1000))), len(OPERATORS))


def test_the_xavier_table_has_the_range_of_its_source() -> None:
    """3.676 ms with every layer skipped (the bias of the fit), 39.09 ms with k7e6 everywhere."""
    table = lightnas_xavier()
    skips, largest = (np.full((1, 21), OPERATORS.index(name)) for name in ("skip", "k7e6"))
    assert table.latency_s(skips)[0] == pytest.approx(3.676e-3, rel=1e-3)
    assert table.latency_s(largest)[0] == pytest.approx(39.09e-3, rel=1e-3)


def test_larger_kernels_and_expansions_take_longer_everywhere() -> None:
    table = lightnas_xavier().table_s
    column = {name: table[:, OPERATORS.index(name)] for name in OPERATORS}
    for kernel in (3, 5, 7):
        assert (column[f"k{kernel}e6"] > column[f"k{kernel}e3"]).all()
    for expansion in (3, 6):
        assert (column[f"k7e{expansion}"] > column[f"k5e{expansion}"]).all()
        assert (column[f"k5e{expansion}"] > column[f"k3e{expansion}"]).all()


def test_scores_are_sums_in_seconds() -> None:
    table = load_choice_table(stored(table_ms=np.array([[1.0, 2.0], [0.0, 5.0]]), bias_ms=3.0, operators=["a", "b"]))
    assert table.latency_s(np.array([[0, 0], [1, 1]])).tolist() == pytest.approx([4e-3, 10e-3])
    assert table.latency_s(np.zeros((0, 2), int)).shape == (0,)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="needs the array 'bias_ms'"):
        load_choice_table(stored(table_ms=np.ones((2, 2)), operators=["a", "b"]))
    with pytest.raises(ValueError, match=r"by 3 operators is needed, got shape \(2, 2\)"):
        ChoiceTable(np.ones((2, 2)), 0.0, ("a", "b", "c"))
    with pytest.raises(ValueError, match="finite and not negative"):
        ChoiceTable(np.array([[1.0, np.nan]]), 0.0, ("a", "b"))
    with pytest.raises(ValueError, match="finite and not negative"):
        ChoiceTable(np.ones((1, 2)), -1.0, ("a", "b"))
