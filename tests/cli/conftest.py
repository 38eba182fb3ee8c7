"""One trained bundle for all tests; what a crash of the machine leaves, tests/storage shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.cli import workbench


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, validation and test files, and a bundle of them in ``run/bundle``."""
    folder = tmp_path_factory.mktemp("trained")
    data = {"root": ".", **workbench.write_parts(folder)}
    tree = workbench.tree_of(data=data, output=str(folder / "run"))
    workbench.succeed("train", workbench.write_yaml(folder / "ranker.yaml", tree), "--test")
    return folder


@pytest.fixture(scope="session")
def bundle(trained: Path) -> Path:
    return trained / "run" / "bundle"
