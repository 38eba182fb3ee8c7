"""What every test shares: hypothesis without deadlines, since the machines are shared."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def _seed(seed: int) -> torch.Generator:
    """``torch.manual_seed`` without the devices that are not there, for each of which it writes the
    stack down: a millisecond, thousands of times."""
    return torch.default_generator.manual_seed(int(seed))


if not torch.accelerator.is_available():
    torch.manual_seed = torch.random.manual_seed = _seed


UNTRACED = {"contract", "crash", "e2e", "extension"}
"""Folders whose tests run again what others have covered: tracing them doubled their time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage is what the tests of the rooms themselves reach."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in UNTRACED:
            item.add_marker(pytest.mark.no_cover)
