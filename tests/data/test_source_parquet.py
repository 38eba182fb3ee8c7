from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.data.source import open_log
from polyrank.data.sources import parquet
from polyrank.data.sources import rechunk as rechunking
from polyrank.errors import DataError
from tests.data.impressions import columns_of, table_of, write_parquet


def read(path: Path, **options: Any) -> pa.Table:
    return pa.concat_tables([chunk.table for chunk in open_log(path, **options).chunks()])


def test_the_rows_come_as_they_were_written(tmp_path: Path) -> None:
    table = table_of(columns_of(1000))
    path = write_parquet(tmp_path / "log.parquet", table, row_group_size=130)
    assert read(path).equals(table)
    assert read(path, chunk_rows=7).equals(table)


def test_chunks_are_bounded_and_say_where_they_begin(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", table_of(columns_of(100)), row_group_size=33)
    chunks = list(open_log(path, chunk_rows=10).chunks())
    assert max(chunk.table.num_rows for chunk in chunks) <= 10
    sizes = [chunk.table.num_rows for chunk in chunks]
    assert [chunk.first_row for chunk in chunks] == np.cumsum([0, *sizes[:-1]]).tolist()
    assert {chunk.origin for chunk in chunks} == {"log.parquet"}


def test_many_tiny_row_groups_are_joined(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", table_of(columns_of(100)), row_group_size=1)
    sizes = [chunk.table.num_rows for chunk in open_log(path, chunk_rows=40).chunks()]
    assert sum(sizes) == 100
    assert min(sizes[:-1]) >= 20


def test_only_the_columns_asked_for_come_and_in_that_order(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", table_of(columns_of()))
    (chunk,) = open_log(path).chunks(["click", "history", "age"])
    assert chunk.table.column_names == ["click", "history", "age"]


def test_a_column_name_may_hold_a_dot(tmp_path: Path) -> None:
    table = pa.table({"a.b": ["x"], "a": [[1, 2]], "c": [{"d": 1}]})
    path = write_parquet(tmp_path / "log.parquet", table)
    (chunk,) = open_log(path).chunks(["a.b", "a"])
    assert chunk.table.to_pydict() == {"a.b": ["x"], "a": [[1, 2]]}


def test_schema_and_number_of_rows_come_from_the_footer(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", pa.table({"x": pa.array([1], pa.int32())}))
    write_parquet(tmp_path / "b.parquet", pa.table({"x": pa.array([2, 3], pa.int64())}))
    source = open_log(tmp_path)
    assert source.schema().field("x").type == pa.int64()
    assert [part.num_rows for part in source.parts()] == [1, 2]


def test_an_empty_shard_is_no_fault(tmp_path: Path) -> None:
    table = table_of(columns_of())
    write_parquet(tmp_path / "a.parquet", table.slice(0, 0))
    write_parquet(tmp_path / "b.parquet", table)
    assert sum(chunk.table.num_rows for chunk in open_log(tmp_path).chunks()) == 40


BROKEN: dict[str, bytes] = {
    "zero bytes": b"",
    "one byte": b"P",
    "the magic alone": b"PAR1",
    "twice the magic": b"PAR1PAR1",
    "a footer of zero bytes": b"PAR1\0\0\0\0PAR1",
    "a footer longer than the file": b"PAR1\xff\xff\xff\x7fPAR1",
    "text": b"user_id,click\n1,0\n" * 10,
    "an encrypted footer": b"PARE" + bytes(40) + b"PARE",
    "noise": random.Random(0).randbytes(5000),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_parquet_is_refused_by_name(tmp_path: Path, what: str) -> None:
    path = tmp_path / "log.parquet"
    path.write_bytes(BROKEN[what])
    with pytest.raises(DataError, match=r"^log\.parquet: cannot be read as Parquet") as caught:
        open_log(path).parts()
    assert caught.value.exit_code == 3
    assert caught.value.hint


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "log.parquet", table_of(columns_of()))
    data = path.read_bytes()
    for share in range(20):
        path.write_bytes(data[: len(data) * share // 20])
        with pytest.raises(DataError, match=r"log\.parquet"):
            read(path)


def test_a_flipped_bit_in_a_page_is_refused_by_its_checksum(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(10_000)})
    path = write_parquet(tmp_path / "log.parquet", table, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"log\.parquet.*(?i:crc|checksum)"):
        read(path)
    # The positive control: without a checksum nobody notices.
    write_parquet(path, table, compression="none", use_dictionary=False)
    pq.write_table(table, path, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert not read(path).equals(table)


def test_damage_late_in_the_file_says_after_which_row(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(10_000)})
    path = write_parquet(tmp_path / "log.parquet", table, compression="none", row_group_size=1000)
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path.write_bytes(data)
    chunks = open_log(path, chunk_rows=1000).chunks()
    with pytest.raises(DataError, match=r"^log\.parquet, after row 7000: ") as caught:
        list(chunks)
    assert caught.value.exit_code == 3


def run_length_bomb(path: Path, num_rows: int) -> Path:
    constant = pa.DictionaryArray.from_arrays(np.zeros(num_rows, np.int32), pa.array([7]))
    pq.write_table(pa.table({"x": constant.cast(pa.int64())}), path, row_group_size=num_rows)
    return path


def test_a_file_that_decodes_to_too_much_is_refused_from_its_footer(tmp_path: Path) -> None:
    path = run_length_bomb(tmp_path / "log.parquet", 1_000_000)
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match=r"log\.parquet: its \d+ bytes decode to 8000000 or more"):
        open_log(path, max_decoded_bytes=1_000_000).parts()
    assert open_log(path, max_decoded_bytes=8_000_000).parts()[0].num_rows == 1_000_000


def test_an_expansion_beyond_reason_is_refused_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_length_bomb(tmp_path / "log.parquet", 1_000_000)
    assert open_log(path).parts()[0].num_rows == 1_000_000  # 8 MB harm nobody
    monkeypatch.setattr(parquet, "_SMALL", 2**20)
    with pytest.raises(DataError, match="bytes decode to 8000000 or more"):
        open_log(path).parts()


def test_a_long_string_in_a_dictionary_makes_chunks_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = pa.DictionaryArray.from_arrays(np.zeros(3000, np.int32), pa.array(["x" * 100_000]))
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"s": long}), path, store_schema=False)
    assert path.stat().st_size < 50_000
    monkeypatch.setattr(parquet, "_CHUNK_BYTES", 2**24)
    chunks = open_log(path, max_decoded_bytes=2**28).chunks()
    assert next(chunks).table.nbytes <= rechunking._JOINED_BYTES + 2**24
    with pytest.raises(DataError, match="bytes decode to"):
        list(chunks)


def test_long_lists_make_chunks_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offsets = pa.array(np.arange(0, 4_000_001, 20_000), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, np.zeros(4_000_000, np.int64))
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"x": lists}), path)
    monkeypatch.setattr(parquet, "_CHUNK_BYTES", 2**20)
    monkeypatch.setattr(rechunking, "_JOINED_BYTES", 2**20)
    sizes = [chunk.table.num_rows for chunk in open_log(path).chunks()]
    assert sum(sizes) == 200
    assert max(sizes) * 20_000 * 8 <= 2**21


def test_a_footer_that_lies_about_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    table = pa.table({"x": np.arange(77)})
    clean = write_parquet(path, table).read_bytes()
    # Numbers of rows are zigzag varints behind a field header: 77 is 0x9A 0x01.
    outcomes, messages = set(), ""
    for place in range(len(clean)):
        if clean.startswith(b"\x16\x9a\x01", place):
            path.write_bytes(clean[: place + 1] + b"\x9c" + clean[place + 2 :])
            try:
                outcomes.add(read(path).equals(table))
            except DataError as error:
                outcomes.add(str(error).startswith("log.parquet"))
                messages += str(error)
    assert outcomes == {True}
    assert "declares 78 rows" in messages
