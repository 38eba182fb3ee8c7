"""The package's own example."""

from __future__ import annotations

import doctest

import polyrank.layers


def test_the_example_of_the_package_runs() -> None:
    result = doctest.testmod(polyrank.layers)
    assert result.attempted > 0
    assert result.failed == 0


def test_everything_public_is_there() -> None:
    assert sorted(polyrank.layers.__all__, key=str.lower) == sorted(
        set(polyrank.layers.__all__), key=str.lower
    )
    assert all(hasattr(polyrank.layers, name) for name in polyrank.layers.__all__)
