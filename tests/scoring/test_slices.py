"""What a report cannot be cut by."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from polyrank.errors import ConfigError
from polyrank.scoring import check_slices


def test_what_cannot_be_sliced_is_known_before_a_row_is_scored() -> None:
    chunk = pa.table({"few": np.arange(1500) % 3, "many": np.arange(1500)})
    half = chunk.slice(0, 750)
    check_slices([half, half], ["few", "many"], exact_rows=1500)
    check_slices([chunk], ["few"], exact_rows=1500)
    with pytest.raises(ConfigError, match="'many' has more than 1000 values"):
        check_slices([half, chunk.slice(750)], ["few", "many"], exact_rows=1500)
    with pytest.raises(ConfigError, match="1,499 rows at most"):
        check_slices([half, half], ["few"], exact_rows=1499)
