from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyrank.errors import ConfigError, StorageError
from polyrank.simulation import Feed, FeedConfig
from polyrank.simulation.writer import write_log


@pytest.fixture(scope="module")
def feed() -> Feed:
    return Feed(FeedConfig(num_users=80, num_items=60, days=3))


def _log(feed: Feed, num_rows: int) -> pa.Table:
    return pa.concat_tables(feed.tables(num_rows))


def test_one_file_holds_the_log(feed: Feed, tmp_path: Path) -> None:
    target = tmp_path / "new" / "log.parquet"
    assert feed.write(target, 2_345) == (target,)
    assert pq.read_table(target).equals(_log(feed, 2_345))
    assert list(target.parent.iterdir()) == [target]


def test_a_file_is_replaced(feed: Feed, tmp_path: Path) -> None:
    target = tmp_path / "log.parquet"
    feed.write(str(target), 100)
    feed.write(target, 50)
    assert pq.read_table(target).num_rows == 50


def test_a_directory_holds_one_file_a_day(feed: Feed, tmp_path: Path) -> None:
    target = tmp_path / "log"
    target.mkdir()
    files = feed.write(target, 140_000)
    assert [file.name for file in files] == [
        "2026-01-05.parquet",
        "2026-01-06.parquet",
        "2026-01-07.parquet",
    ]
    assert sorted(target.iterdir()) == list(files)
    assert list(tmp_path.iterdir()) == [target]
    parts = [pq.read_table(file) for file in files]
    for part in parts:
        assert len(np.unique(part["time_ms"].to_numpy() // 86_400_000)) == 1
    assert pa.concat_tables(parts).equals(_log(feed, 140_000))


def test_pages_carry_checksums(feed: Feed, tmp_path: Path) -> None:
    target = tmp_path / "log.parquet"
    feed.write(target, 5_000)
    content = bytearray(target.read_bytes())
    chunk = pq.ParquetFile(target).metadata.row_group(0).column(0)
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 0x10
    target.write_bytes(content)
    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        pq.ParquetFile(target, page_checksum_verification=True).read()


def test_a_directory_that_is_not_empty_is_refused(feed: Feed, tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"not an empty directory.*Choose another name"):
        feed.write(tmp_path, 100)
    assert (tmp_path / "keep.txt").read_text() == "mine"


def test_a_file_where_the_directory_should_be_is_refused(feed: Feed, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty directory"):
        feed.write(tmp_path / "log", 100)


def test_a_directory_where_the_file_should_be_is_refused(feed: Feed, tmp_path: Path) -> None:
    (tmp_path / "log.parquet").mkdir()
    with pytest.raises(ConfigError, match=r"is a directory.*drop the `.parquet`"):
        feed.write(tmp_path / "log.parquet", 100)


def test_no_rows_are_refused_and_nothing_is_written(feed: Feed, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_rows"):
        feed.write(tmp_path / "log.parquet", 0)
    assert not list(tmp_path.iterdir())


def test_a_path_through_a_file_is_a_storage_error(feed: Feed, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="cannot write the log"):
        feed.write(tmp_path / "file" / "log.parquet", 100)


@pytest.mark.parametrize("name", ["log.parquet", "log"])
def test_a_failure_midway_leaves_nothing(feed: Feed, tmp_path: Path, name: str) -> None:
    def broken() -> Iterator[pa.Table]:
        yield from feed.tables(500, 100)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_log(tmp_path / name, broken(), feed.schema)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["log.parquet", "log"])
def test_a_disk_that_refuses_leaves_nothing_and_exits_6(tmp_path: Path, name: str) -> None:
    code = (
        "import resource, sys\n"
        "from polyrank.errors import PolyrankError\n"
        "from polyrank.simulation import Feed, FeedConfig\n"
        "feed = Feed(FeedConfig(num_users=80, num_items=60))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    feed.write(sys.argv[1], 50_000)\n"
        "except PolyrankError as error:\n"
        "    sys.stderr.write(str(error)); sys.exit(error.exit_code)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert f"{name}: cannot write the log: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
