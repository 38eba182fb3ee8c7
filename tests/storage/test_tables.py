"""Tables as bytes, and back."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.storage.tables import table_bytes, table_of

TABLE = pa.table(
    {
        "id": pa.array(["ä", None, ""] * 5),
        "watched": pa.array([[1, 2], [], None] * 5, pa.list_(pa.int32())),
        "kind": pa.array(["a", "b", None] * 5).dictionary_encode(),
        "price": pa.array(np.linspace(0, 1, 15, dtype=np.float32)),
    }
)
THREADS = """
import os, pyarrow as pa
from polyrank.storage.tables import table_bytes, table_of
content = table_bytes(pa.table({str(place): [place] * 1000 for place in range(50)}))
before = len(os.listdir("/proc/self/task"))
assert table_of(content).num_rows == 1000
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_a_table_comes_back_with_its_types() -> None:
    found = table_of(table_bytes(TABLE))
    assert found.equals(TABLE)
    assert found.schema == TABLE.schema


def test_every_page_has_a_checksum() -> None:
    """A reader that checks them sees a flipped bit of the data."""
    content = bytearray(table_bytes(pa.table({"x": np.arange(1000)})))
    content[200] ^= 4
    reader = pq.ParquetFile(pa.BufferReader(bytes(content)), page_checksum_verification=True)
    with pytest.raises(OSError, match="checksum"):
        reader.read()


def test_no_thread_stays_behind_that_could_outlive_the_interpreter() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "0\n"
