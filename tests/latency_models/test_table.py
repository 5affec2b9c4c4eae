"""Latency tables: what is read, what is refused, and HELP's rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_models.table import HELP_TEST, HELP_TRAIN, HELP_VALIDATION, LatencyTable, load_table, nb201, queries
from latency_models.table import save_table as save

TABLE = LatencyTable(
    latency_s=np.array([[0.001, 0.002], [0.003, np.nan], [0.004, 0.0]]),
    devices=("a", "b"),
    ops=np.array([[0, 1], [1, 1], [2, 0]]),
    op_names=("none", "skip", "conv"),
    families=("x", "y"),
    batch=(1, 32),
    arch_str=("p", "q", "r"),
)


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    save(tmp_path / "t.npz", TABLE)
    found = load_table(tmp_path / "t.npz")
    # A clock that rounds reads 0 for what takes less than half a step: half the device's least reading.
    expected = np.where(TABLE.latency_s == 0, 0.001, TABLE.latency_s)
    np.testing.assert_allclose(found.latency_s, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.ops, TABLE.ops)
    for name in ("devices", "op_names", "families", "batch", "arch_str"):
        assert getattr(found, name) == getattr(TABLE, name)


def test_optional_arrays_may_be_missing(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", latency_ms=np.float32([[1], [2]]), devices=["a"], ops=np.int8([[0], [1]]))
    found = load_table(tmp_path / "t.npz")
    assert (found.op_names, found.families, found.batch) == ((), (), ())
    np.testing.assert_allclose(found.column("a"), [0.001, 0.002])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"devices": ("a", "a")}, "twice"),
        ({"devices": ("a",)}, "2 columns of latencies and 1 devices"),
        ({"ops": TABLE.ops[:2]}, "3 rows of latencies and 2 of ops"),
        ({"ops": TABLE.ops.astype(float)}, "integers"),
        ({"ops": TABLE.ops[0]}, "two dimensions"),
        ({"latency_s": -TABLE.latency_s}, "negative"),
        ({"latency_s": TABLE.latency_s + np.inf}, "infinite"),
        ({"families": ("x",)}, "1 families for 2 devices"),
        ({"arch_str": ("p",)}, "1 names for 3 networks"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(TABLE, **change)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no latency table"):
        load_table(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="no latency table"):
        load_table(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", devices=["a"], ops=[[0]])
    with pytest.raises(ValueError, match="no array 'latency_ms', only devices, ops"):
        load_table(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", latency_ms=[[1.0]], devices=np.array(["a"], object), ops=[[0]])
    with pytest.raises(ValueError, match="no latency table"):
        load_table(tmp_path / "pickled.npz")


def test_an_unknown_device_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no device 'c'; it has a, b"):
        TABLE.column("c")


def test_queries_are_the_middle_of_the_rows_after_the_pool() -> None:
    seconds = np.concatenate([np.zeros(5), np.arange(20.0, 0, -1), np.full(5, 99.0)])
    found = queries(seconds, pool=5, count=20)
    np.testing.assert_array_equal(found, np.arange(7, 23))
    seconds[10] = np.nan
    assert 10 not in queries(seconds, pool=5, count=20)
    assert len(queries(seconds, pool=30)) == 0


def test_the_shipped_table_is_helps() -> None:
    table = nb201()
    assert table.latency_s.shape == (15625, 27)
    assert {*HELP_TRAIN, *HELP_VALIDATION, *HELP_TEST} <= set(table.devices)
    assert not set(HELP_TEST) & {*HELP_TRAIN, *HELP_VALIDATION}
    assert table.op_names == ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    # The first network of NAS-Bench-201's official order, and its reading in HELP's repository.
    assert table.arch_str[0].startswith("|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|")
    assert table.column("1080ti_1")[0] == pytest.approx(10.754371e-3, rel=1e-6)
    assert len(np.unique(table.ops, axis=0)) == 15625
    assert len(queries(table.column("pixel2"))) == 800
