"""Mutates Parquet files and reads them; run as a process of its own, since it may not survive.

Prints one JSON line a mutation: its number and what came of it.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.errors import DataError
from tests.data.impressions import columns_of, schema_of, table_of

SCHEMA = schema_of()
Mutate = Callable[[bytearray, random.Random], None]
MEMORY_BYTES = 3 * 2**30
SECONDS_EACH = 20


def flip_bit(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data))
    data[place] ^= 1 << rng.randrange(8)


def set_byte(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255))


def flip_many(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(2, 16)):
        flip_bit(data, rng)


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def zero_block(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    length = min(rng.choice((4, 16, 64, 512)), len(data) - start)
    data[start : start + length] = bytes(length)


def cut_out(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 64)]


def insert(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = rng.randbytes(rng.randint(1, 64))


def copy_block(data: bytearray, rng: random.Random) -> None:
    length = rng.randint(1, 64)
    source, target = rng.randrange(len(data)), rng.randrange(len(data))
    block = data[source : source + length]
    data[target : target + len(block)] = block


def footer_bit(data: bytearray, rng: random.Random) -> None:
    length = int.from_bytes(data[-8:-4], "little")
    place = rng.randrange(len(data) - 8 - length, len(data))
    data[place] ^= 1 << rng.randrange(8)


MUTATIONS: tuple[Mutate, ...] = (
    flip_bit,
    flip_bit,
    flip_bit,
    set_byte,
    flip_many,
    truncate,
    zero_block,
    cut_out,
    insert,
    copy_block,
    footer_bit,
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {"compression": "snappy"},
    {"compression": "none", "use_dictionary": False},
    {"compression": "zstd", "data_page_version": "2.0"},
    {"compression": "gzip", "row_group_size": 50, "data_page_size": 256},
    {"compression": "none", "write_statistics": False, "store_schema": False},
)


def bases(folder: Path, *, checksums: bool) -> list[tuple[bytes, pa.Table]]:
    """The clean files, and what they hold."""
    table = table_of(columns_of(120))
    found = []
    for place, options in enumerate(OPTIONS):
        path = folder / f"base-{place}.parquet"
        pq.write_table(table, path, write_page_checksum=checksums, **options)
        found.append((path.read_bytes(), read(path)))
    return found


def read(path: Path) -> pa.Table:
    """All rows, as a model would get them."""
    return pa.concat_tables(Reader(open_log(path), SCHEMA).chunks())


def outcome(path: Path, data: bytes, clean: bytes, table: pa.Table) -> str:
    """What came of a mutated file."""
    if data == clean:
        return "unchanged"
    path.write_bytes(data)
    signal.alarm(SECONDS_EACH)
    try:
        return "same" if read(path).equals(table) else "silent"
    except DataError as error:
        return "refused" if path.name in str(error) else "nameless"
    except Exception as error:  # noqa: BLE001  # whatever it is, the test wants to know
        return f"raised {type(error).__name__}: {error}"[:300]
    finally:
        signal.alarm(0)


def main(folder: Path, first: int, last: int, checksums: bool) -> None:
    """Try the mutations of these numbers."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    files = bases(folder, checksums=checksums)
    for number in range(first, last):
        rng = random.Random(number)
        clean, table = files[number % len(files)]
        data = bytearray(clean)
        mutate = MUTATIONS[number // len(files) % len(MUTATIONS)]
        mutate(data, rng)
        result = outcome(folder / "mutated.parquet", bytes(data), clean, table)
        sys.stdout.write(json.dumps([number, mutate.__name__, result]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "checksums")
