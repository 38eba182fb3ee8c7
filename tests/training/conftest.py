"""Small runs write many checkpoints: what a crash of the machine leaves, tests/storage shows."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.training.forkserver import ForkServer
from tests.training.runs import prepared, table


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """One for all tests of several processes; the runs are in folders of their own."""
    folder = tmp_path_factory.mktemp("distributed")
    rows = table(330, 0)
    # The last batch of an epoch has 10 rows, and one task no label in many batches.
    like = pa.array(rows["like"].to_numpy(), mask=np.arange(330) % 30 > 0)
    rows = rows.set_column(rows.column_names.index("like"), "like", like)
    prepared(folder / "cache", rows, table(101, 1))
    with ForkServer(folder) as running:
        yield running
