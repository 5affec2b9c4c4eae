"""The table of how far sheets are off is that of its script, and devices left out of it are covered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_models.sheets import ANY, table

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> Any:
    """The script, which is started from its own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import unmeasured

        yield unmeasured


@pytest.fixture(scope="module")
def found(script: Any) -> tuple[list[Any], list[dict[str, Any]]]:
    """The columns on fewer networks than the table is made from, and what was judged of each."""
    rows, live = script.rows_of(60)
    columns = script.columns("roofline", rows)
    return columns, list(script.judge(columns, live))


@pytest.mark.slow
def test_the_shipped_table_is_that_of_the_script(script: Any, found: Any) -> None:
    columns, _ = found
    rows = script.classes(columns)
    assert rows.keys() == table()["roofline"].keys() and ANY in rows
    for name, row in rows.items():
        shipped = table()["roofline"][name]
        assert (row.devices, row.freedom) == (shipped.devices, shipped.freedom)
        assert row.median == pytest.approx(shipped.median, rel=0.2)
        assert row.log_std == pytest.approx(shipped.log_std, rel=0.25)
    assert script.SHIPPED.read_text() == script.shipped(table())


@pytest.mark.slow
def test_a_device_that_is_left_out_is_covered(found: Any) -> None:
    _, records = found
    assert len(records) == 25 and {record["batch"] for record in records} == {1, 32, 256}
    assert all(record["coverage"] > 0.75 for record in records)
    assert np.mean([record["coverage"] for record in records]) > 0.9
    assert all(record["ratio_before"] > 1.25 for record in records), "sheets are too fast"
    off = {key: [abs(np.log(record[key])) for record in records] for key in ("ratio_before", "ratio_after")}
    assert np.median(off["ratio_after"]) < 0.4 * np.median(off["ratio_before"])


def test_a_device_is_not_corrected_by_itself(script: Any, found: Any) -> None:
    """Neither with another batch nor under another name."""
    columns, records = found
    for column, record in zip(columns, records, strict=True):
        for factor in (1.0, 3.0):
            changed = [
                script.Column(c.name, c.device, c.kind, c.batch, c.log_ratio + np.log(factor))
                if c.device == column.device
                else c
                for c in columns
            ]
            error = script.left_out(changed, column, column.kind)
            assert error.median == pytest.approx(record["ratio_before"] / record["ratio_after"])
