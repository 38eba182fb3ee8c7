"""What every test shares: hypothesis without deadlines, since the machines are shared."""

import torch
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.tracing"]

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def _seed(seed: int) -> torch.Generator:
    """``torch.manual_seed`` without the devices that are not there, for each of which it writes the
    stack down: a millisecond, thousands of times."""
    return torch.default_generator.manual_seed(int(seed))


if not torch.accelerator.is_available():
    torch.manual_seed = torch.random.manual_seed = _seed
