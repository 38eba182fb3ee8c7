"""Arrow tables as Parquet in memory, with page checksums.

>>> import pyarrow as pa
>>> table_of(table_bytes(pa.table({"item": [3, 5]})))["item"].to_pylist()
[3, 5]
"""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq


def table_bytes(table: pa.Table) -> bytes:
    """The table as the bytes of one Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def table_of(content: bytes) -> pa.Table:
    """The table whose bytes these are.

    Read in this thread: Arrow's threads let go of a reader, and so of Python's bytes under it,
    some time after the table is there, and where the process ends in between, it is aborted.
    """
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        return file.read(use_threads=False)
