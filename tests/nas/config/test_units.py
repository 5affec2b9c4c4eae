from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.config.units import format_bytes, format_joules, format_quantity, format_seconds, parse_quantity
from nas.errors import InputError


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("8 ms", "s", 0.008),
        ("8ms", "s", 0.008),
        ("9 ms", "s", 0.009),
        ("5 us", "s", 5e-6),
        (" 3 us ", "s", 3e-6),
        ("3 \N{MICRO SIGN}s", "s", 3e-6),
        ("3 \N{GREEK SMALL LETTER MU}s", "s", 3e-6),
        ("1.5e3 ns", "s", 1.5e-6),
        (".5 s", "s", 0.5),
        ("0.3 J", "J", 0.3),
        ("7 mJ", "J", 0.007),
        ("2 MiB", "B", 2097152.0),
        ("2 MB", "B", 2e6),
        ("1.5 kB", "B", 1500.0),
        ("1 GiB", "B", 2.0**30),
        ("12 B", "B", 12.0),
        ("4 KiB", "B", 4096.0),
    ],
)
def test_a_quantity_is_the_float_nearest_to_it(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    ("value", "unit", "message"),
    [
        (8, "s", "a budget of 8 has no unit; write '8 ms' or '8 s'"),
        (0.3, "J", "a budget of 0.3 has no unit; write '0.3 mJ' or '0.3 J'"),
        ("8", "s", "a budget of 8 has no unit; write '8 ms' or '8 s'"),
        ("8 MB", "s", "has the unit 'MB'; it takes one of h, min, s, ms, us, ns"),
        ("8 MS", "s", "has the unit 'MS'"),
        ("0 ms", "s", "is impossible"),
        ("-8 ms", "s", "is impossible"),
        ("nan ms", "s", "is not a quantity"),
        ("inf s", "s", "is not a quantity"),
        (math.nan, "s", "is impossible"),
        (math.inf, "s", "is impossible"),
        (-1, "s", "is impossible"),
        ("1e400 s", "s", "is impossible"),
        ("1e-400 s", "s", "is impossible"),
        ("1e99999999999999999999 s", "s", "is impossible"),
        ("1e-320 ns", "s", "is impossible"),
        ("1e-99999999999999999999 s", "s", "is impossible"),
        ("8 m s", "s", "is not a quantity"),
        ("", "s", "is not a quantity"),
        (None, "s", "is not a quantity"),
        (True, "s", "is not a quantity"),
        (["8 ms"], "s", "is not a quantity"),
    ],
)
def test_what_is_no_positive_quantity_is_refused(value: object, unit: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_quantity(value, unit)
    assert message in str(error.value)


def test_the_message_names_the_quantity() -> None:
    with pytest.raises(InputError, match=r"experiment\.yaml: budgets\.latency of 8 has no unit"):
        parse_quantity(8, "s", "experiment.yaml: budgets.latency")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.008, "8.00 ms"),
        (0.0123, "12.3 ms"),
        (0.123, "123 ms"),
        (999.96e-6, "1.00 ms"),
        (1.5, "1.50 s"),
        (4.2e-8, "42.0 ns"),
        (4.2e-10, "0.42 ns"),
        (3600.0, "3600 s"),
        (-0.008, "-8.00 ms"),
        (0.0, "0 s"),
        (math.nan, "nan s"),
        (math.inf, "inf s"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_energies_and_sizes_for_people() -> None:
    assert format_joules(0.3) == "300 mJ"
    assert format_bytes(2 * 2**20) == "2.00 MiB"
    assert format_bytes(1023) == "1023 B"
    assert format_bytes(1023 * 2**10) == "1023 KiB"


@given(st.floats(1e-9, 1e6), st.sampled_from(["s", "J", "B"]))
@settings(max_examples=200, deadline=None)
def test_what_is_written_reads_back_to_three_digits(value: float, unit: str) -> None:
    if unit == "B":
        value = math.ceil(value)  # no half bytes
    if unit == "J":
        value = max(value, 1e-3)
    assert parse_quantity(format_quantity(value, unit), unit) == pytest.approx(value, rel=5.1e-3)
