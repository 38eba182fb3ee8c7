"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

import polyrank.evaluation
import polyrank.evaluation.selection


@pytest.mark.parametrize("module", [polyrank.evaluation, polyrank.evaluation.selection])
def test_examples(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_everything_public_is_there() -> None:
    for name in polyrank.evaluation.__all__:
        assert getattr(polyrank.evaluation, name) is not None
