"""What every test shares: hypothesis without deadlines, since the machines are shared; a cache."""

import atexit
import gc
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.tracing"]

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

gc.disable()
atexit.register(gc.unfreeze)  # Else bindings take what is left for leaks of theirs.


def pytest_collection_finish() -> None:
    """What was imported and collected is here to stay: do not look through it again and again."""
    gc.enable()
    gc.freeze()


def _seed(seed: int) -> torch.Generator:
    """``torch.manual_seed`` without the devices that are not there, for each of which it writes the
    stack down: a millisecond, thousands of times."""
    return torch.default_generator.manual_seed(int(seed))


if not torch.accelerator.is_available():
    torch.manual_seed = torch.random.manual_seed = _seed


@pytest.fixture(scope="module", autouse=True)
def _own_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An engine is chosen by the networks that were exported before: by no other module, and
    by nothing else on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYRANK_CACHE", str(tmp_path_factory.mktemp("networks")))
        yield
