from __future__ import annotations

import math

import pytest

from polyrank.pages import interval, number, percent, short

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1.00"),
        (0.9999, "1.00"),
        (0.000123456, "0.000123"),
        (-1234567.8, "−1,234,568"),
        (1.5e-9, "1.50e−9"),
        (2e12, "2.00e12"),
        (math.nan, "–"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers_keep_whole_digits_and_three_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_decimals_and_signs() -> None:
    assert number(0.5, decimals=2, signed=True) == "+0.50"
    assert number(0.0, signed=True) == "0"
    assert number(-0.5, decimals=0, signed=True) == "0"
    assert (short(20.0), short(-0.05), short(1000.0), short(5e-7)) == (
        "20",
        "−0.05",
        "1,000",
        "5.00e−7",
    )


def test_percentages_and_intervals() -> None:
    assert percent(0.9943) == f"99.4{NBSP}%"
    assert percent(-0.031, signed=True) == f"−3.1{NBSP}%"
    assert percent(math.nan) == "–"
    assert interval(-1.0, 2.0, short) == "−1 to 2"
