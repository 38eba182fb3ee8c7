from __future__ import annotations

import pyarrow as pa
import pytest

from tests.simulation.samples import make_log


@pytest.fixture(scope="session")
def default_log() -> pa.Table:
    return make_log(200_000)
