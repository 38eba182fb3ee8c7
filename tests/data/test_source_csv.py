from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyrank.data.source import Need, Source, open_log
from polyrank.errors import DataError


def log(path: Path, text: str | bytes) -> Source:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_log(path)


def read(source: Source, **needs: str) -> pa.Table:
    kinds: dict[str, Any] = needs
    typed = source.typed({name: Need(kind) for name, kind in kinds.items()})
    return pa.concat_tables([chunk.table for chunk in typed.chunks()])


def types(source: Source) -> dict[str, str]:
    return {field.name: str(field.type) for field in source.schema()}


def test_types_come_from_the_texts(tmp_path: Path) -> None:
    source = log(
        tmp_path / "log.csv",
        "whole,number,flag,day,when,text,mixed,none,zeros,zoned\n"
        "1,1.5,true,2022-04-25,2022-04-25 12:00:00,a,1,,007,2022-04-25T12:00:00Z\n"
        "-2,2,false,2022-04-26,2022-04-25 12:00:00.5,b,x,,8,2022-04-25T12:00:00Z\n",
    )
    assert types(source) == {
        "whole": "int64",
        "number": "double",
        "flag": "bool",
        "day": "date32[day]",
        "when": "timestamp[us]",
        "text": "large_string",
        "mixed": "large_string",
        "none": "null",
        "zeros": "large_string",
        "zoned": "timestamp[us, tz=UTC]",
    }
    (chunk,) = source.chunks()
    assert chunk.table.schema == source.schema()
    assert chunk.faults == ()


def test_ids_stay_what_they_are(tmp_path: Path) -> None:
    big = 2**63 - 1
    source = log(
        tmp_path / "log.csv",
        f"whole,zeros,code,floats,beyond,hex\n{big},007,NA,7.0,{2**63},1e3\n-5,12,NULL,,5,2e5\n",
    )
    names = ["whole", "zeros", "code", "floats", "beyond", "hex"]
    table = read(source, **dict.fromkeys(names, "id"))
    assert table.to_pydict() == {
        "whole": [big, -5],
        "zeros": ["007", "12"],
        "code": ["NA", "NULL"],
        "floats": [7.0, None],
        "beyond": [str(2**63), "5"],
        "hex": ["1e3", "2e5"],
    }


def test_a_number_is_read_as_one_even_where_all_are_whole(tmp_path: Path) -> None:
    source = log(tmp_path / "log.csv", "x,flag\n1,true\n2,false\nNA,\n")
    table = read(source, x="number", flag="number")
    assert table.to_pydict() == {"x": [1.0, 2.0, None], "flag": [True, False, None]}
    assert table.schema.field("x").type == pa.float64()


def test_a_text_among_numbers_is_a_fault_of_its_row(tmp_path: Path) -> None:
    source = log(tmp_path / "log.csv", "x,y\n1,a\nold,b\n3,c\n").typed({"x": Need("number")})
    (chunk,) = source.chunks()
    assert chunk.table.column("x").to_pylist() == [1.0, None, 3.0]
    (fault,) = chunk.faults
    assert (fault.rows_K.tolist(), fault.values.to_pylist()) == ([1], ["old"])


def test_text_that_is_no_number_anywhere_stays_text(tmp_path: Path) -> None:
    source = log(tmp_path / "log.csv", "x\nold\nyoung\n").typed({"x": Need("number")})
    assert types(source) == {"x": "large_string"}


def test_declared_missing_values_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    source = log(path, "x\n1\nunknown\n3\n").typed({"x": Need("number", ("unknown",))})
    (chunk,) = source.chunks()
    assert chunk.table.column("x").to_pylist() == [1.0, None, 3.0]
    assert chunk.faults == ()


def test_a_number_after_an_empty_start_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    source = log(path, "x,y\n" + ",1\n" * 1_500_000 + "7,1\n").typed({"x": Need("id")})
    assert source.schema().field("x").type == pa.null()
    faults = [fault for chunk in source.chunks() for fault in chunk.faults]
    assert [fault.values.to_pylist() for fault in faults] == [["7"]]
    assert "hold nothing" in faults[0].rule.text


@pytest.mark.parametrize(
    ("first", "second", "settled"),
    [
        ("1", "x", "large_string"),
        ("1", "2", "int64"),
        ("", "2", "int64"),
        ("1", "2.0", "double"),
        ("", "", "null"),
        ("2022-04-25", "x", "large_string"),
    ],
)
def test_the_files_of_a_log_settle_on_one_type(
    tmp_path: Path, first: str, second: str, settled: str
) -> None:
    (tmp_path / "a.csv").write_text(f"x,y\n{first},1\n")
    (tmp_path / "b.csv").write_text(f"y,x\n1,{second}\n")
    source = open_log(tmp_path).typed({"x": Need("id")})
    assert types(source)["x"] == settled
    assert {str(chunk.table.schema.field("x").type) for chunk in source.chunks()} == {settled}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("\ufeffa,b\n1,2\n", [(1, 2)]),
        ("a,b\r\n1,2\r\n3,4\r\n", [(1, 2), (3, 4)]),
        ("a,b\n1,2", [(1, 2)]),
        ("a,b\n\n1,2\n\n3,4\n", [(1, 2), (3, 4)]),
        ('"a","b"\n"1","2"\n', [(1, 2)]),
        ('a,b\n"x\ny",2\n"z, w",3\n', [("x\ny", 2), ("z, w", 3)]),
        ('a,b\n"say ""hi""",2\n', [('say "hi"', 2)]),
        ("a,b\nx\x00y,2\n", [("x\x00y", 2)]),
        ("a,b\n,2\n1,\n", [(None, 2), (1, None)]),
        ("a,b\n", []),
        ("a,b", []),
    ],
)
def test_the_ways_of_writing_csv(
    tmp_path: Path, text: str, rows: list[tuple[object, object]]
) -> None:
    source = log(tmp_path / "log.csv", text)
    assert source.schema().names == ["a", "b"]
    found = [row for chunk in source.chunks() for row in chunk.table.to_pylist()]
    assert found == [{"a": a, "b": b} for a, b in rows]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty, without even a header"),
        (b"\n\n", "it is empty, without even a header"),
        ("a,b\n1,2\n".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"a,b\n1,2\n3\n", r"line 3: has 1 values where the header has 2: '3'"),
        (b"a,b\n1,2\n3,4,5\n", r"line 3: has 3 values where the header has 2: '3,4,5'"),
        (b"a,b\n1,1,5\n", r"line 2: has 3 values"),
        (b"a,b\n\xff,2\n", "utf-8"),
        (b"\xff,b\n1,2\n", "utf-8"),
        (b'a,b\n"x,2\n', "log.csv"),
        (b"a,b\n" + b"x" * 10_000_000 + b",2\n", "block"),
        (b"a,b\n1,2\n" + b"x" * 10_000_000 + b",2\n", "block"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, data: bytes, message: str) -> None:
    source = log(tmp_path / "log.csv", data)
    with pytest.raises(DataError, match=message) as caught:
        list(source.chunks())
    assert caught.value.exit_code == 3
    assert "log.csv" in str(caught.value)


@pytest.mark.parametrize(("mark", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_separator_is_named(tmp_path: Path, mark: str, word: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"user{mark}price{mark}click\n1{mark}2,5{mark}0\n")
    with pytest.raises(DataError) as refused:
        open_log(path).schema()
    assert refused.value.message.startswith(f"its columns are divided by {word}")
    assert refused.value.hint == "Write it with commas, or as Parquet."


def test_a_ragged_row_far_below_names_its_line(tmp_path: Path) -> None:
    source = log(tmp_path / "log.csv", "a,b\n" + "1,2\n" * 2_000_000 + "5\n")
    with pytest.raises(DataError, match="line 2000002"):
        list(source.chunks())


def test_every_unreadable_file_is_named(tmp_path: Path) -> None:
    for name, text in (("a", "x\n1\n"), ("b", ""), ("c", "")):
        (tmp_path / f"{name}.csv").write_text(text)
    with pytest.raises(DataError, match="2 files cannot be read"):
        open_log(tmp_path).typed({"x": Need("id")})


CELLS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8),
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, st.integers(0, 9).map(str)), min_size=1, max_size=20),
    chunk_rows=st.integers(1, 30),
)
def test_texts_come_back_as_pythons_csv_module_reads_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], chunk_rows: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("a", "b", "c"), *rows])
    with path.open(newline="", encoding="utf-8") as file:
        expected = [[cell or None for cell in row] for row in csv.reader(file)][1:]
    source = open_log(path, chunk_rows=chunk_rows).typed({name: Need("text") for name in "abc"})
    found = [list(row.values()) for chunk in source.chunks() for row in chunk.table.to_pylist()]
    assert found == expected


def test_line_breaks_in_quotes_may_stand_anywhere(tmp_path: Path) -> None:
    source = log(tmp_path / "log.csv", "a,b\n" + '"long\ny\nz",1\n' * 400_000)
    chunks = [chunk.table.column("a") for chunk in source.chunks()]
    assert sum(map(len, chunks)) == 400_000
    assert {text for column in chunks for text in column.unique().to_pylist()} == {"long\ny\nz"}
