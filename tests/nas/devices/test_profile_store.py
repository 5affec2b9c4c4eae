"""Which readings count, and which are fitted to."""

from dataclasses import replace

import pytest

from nas.devices.measurement import ExitTime, Measurement
from nas.devices.profile_store import FEWEST, Reading, counting, to_fit


def row(key: str, reference_s: float | None = 1e-3, disturbed: float = 0.0) -> Measurement:
    """A reading of a network of one exit."""
    return Measurement(
        purpose="calibration",
        target="t",
        genome=(0,),
        key=key,
        exits=(ExitTime(1e-3, 1e-3, disturbed=disturbed),),
        reference_s=reference_s,
    )


def test_the_last_stable_reading_of_a_network_counts() -> None:
    rows = [row("a", disturbed=0.9), row("b"), row("a"), row("b", 1.2e-3), row("c", disturbed=0.9), row("c", 1.2e-3)]
    found = counting(rows)
    assert [(reading.row, reading.stable) for reading in found] == [
        (rows[2], True), (rows[1], True), (rows[5], False),
    ]  # fmt: skip
    assert counting(()) == ()


def test_a_reading_that_was_refused_is_not_stable() -> None:
    refused = ExitTime(1e-3, float("inf"), contended=True, refused="the core was busy")
    rows = [row("a"), replace(row("b"), exits=(refused,)), row("b"), replace(row("c"), exits=(refused,))]
    assert [(reading.row, reading.stable) for reading in counting(rows)] == [
        (rows[0], True), (rows[2], True), (rows[3], False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stable", "unstable", "fitted"), [(5, 0, 5), (4, 1, 4), (3, 2, 3), (2, 1, 3), (3, 3, 6), (1, 0, 1), (0, 2, 2)]
)
def test_unstable_readings_are_left_out_as_long_as_enough_others_remain(
    stable: int, unstable: int, fitted: int
) -> None:
    """Enough is more than half, and as many as an error bar takes."""
    assert FEWEST == 3
    readings = [Reading(row(str(number)), number < stable) for number in range(stable + unstable)]
    found = to_fit(readings)
    assert len(found) == fitted
    assert set(found) >= {reading.row for reading in readings if reading.stable}


@pytest.mark.parametrize(("unstable", "refused", "fitted"), [(2, 2, 2), (0, 3, 3), (1, 4, 1)])
def test_what_others_made_of_a_reading_is_not_fitted_as_long_as_anything_was_measured(
    unstable: int, refused: int, fitted: int
) -> None:
    lost = ExitTime(9e-3, float("inf"), contended=True, refused="the core was busy")
    rows = [row(str(number)) for number in range(unstable)]
    rows += [replace(row(f"lost {number}"), exits=(lost,)) for number in range(refused)]
    assert to_fit([Reading(each, False) for each in rows]) == tuple(rows[:fitted])
