from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from polyrank.bundle import Bundle
from polyrank.simulation import Feed, FeedConfig
from polyrank.simulation.experiment import (
    Course,
    Experiment,
    ExperimentConfig,
    LoggingPolicy,
    Policy,
    RandomPolicy,
    ReturnOracle,
    SatisfactionOracle,
    observed_log,
    train_ranker,
)
from polyrank.simulation.world import World

CONFIG = ExperimentConfig(days=4)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def world() -> World:
    return Feed(FeedConfig(seed=3, num_users=800, num_items=300)).world


@pytest.fixture(scope="session")
def arms() -> dict[str, Policy]:
    return {
        "random": RandomPolicy(),
        "logging": LoggingPolicy(),
        "satisfaction_oracle": SatisfactionOracle(),
        "return_oracle": ReturnOracle(CONFIG.returns),
    }


@pytest.fixture(scope="session")
def course(world: World, arms: dict[str, Policy]) -> Course:
    return Experiment(world, CONFIG).run(arms)


@pytest.fixture(scope="session")
def bundle(world: World) -> Bundle:
    """Learned little, from a small log of the same feed."""
    train, validation = observed_log(Feed(world.config), 6_000)
    return train_ranker(world.config, train, validation)
