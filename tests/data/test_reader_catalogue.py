from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polyrank.data.ledger import Counts
from polyrank.data.quarantine import Quarantine
from polyrank.data.reader import Reader
from polyrank.data.source import open_log
from polyrank.errors import PolyrankError
from tests.data.catalogue import CASES, Case
from tests.data.impressions import (
    FEATURES,
    TYPES,
    VECTOR,
    columns_of,
    schema_of,
    table_of,
    write_csv,
    write_parquet,
)

RUNS = [(case, form) for case in CASES for form in case.formats]


def test_the_catalogue_is_as_large_as_promised() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for form in ("parquet", "csv"):
        assert sum(form in case.formats for case in CASES) >= 120


@pytest.mark.parametrize(
    ("case", "form"), RUNS, ids=[f"{form}: {case.name}" for case, form in RUNS]
)
def test_each_case_has_its_outcome_exit_code_and_ledger(
    case: Case, form: str, tmp_path: Path
) -> None:
    strict = run(case, form, tmp_path, max_share=0.0)
    assert strict.exit_code == (3 if case.bad_rows else case.exit_code)
    assert case.refused in strict.message
    expect_ledger(case, strict.counts)
    if case.bad_rows:
        lenient = run(case, form, tmp_path, max_share=0.2)
        assert lenient.exit_code == 0, lenient.message
        expect_ledger(case, lenient.counts)
        kept = case.rows - case.bad_rows - case.duplicates
        assert lenient.num_rows == kept
        assert strict.num_rows == 0
        assert len(pq.read_table(tmp_path / "quarantine.parquet")) == case.bad_rows


class Outcome:
    exit_code = 0
    message = ""
    num_rows = 0
    counts: Counts | None = None


def run(case: Case, form: str, folder: Path, *, max_share: float) -> Outcome:
    columns, types = columns_of(), dict(TYPES)
    case.change(columns, types)
    log = write(form, folder, columns, types)
    schema = schema_of(**schema_for(form, case.schema))
    outcome = Outcome()
    quarantine = Quarantine(folder / "quarantine.parquet", max_share=max_share)
    try:
        reader = Reader(open_log(log), schema, quarantine=quarantine)
    except PolyrankError as error:
        outcome.exit_code, outcome.message = error.exit_code, str(error)
        return outcome
    try:
        outcome.num_rows = sum(table.num_rows for table in reader.chunks())
    except PolyrankError as error:
        outcome.exit_code, outcome.message = error.exit_code, str(error)
    outcome.counts = reader.ledger.parts.get("all")
    return outcome


def schema_for(form: str, changes: dict[str, Any]) -> dict[str, Any]:
    features = changes.get("features", FEATURES)
    return {**changes, "features": (*features, VECTOR) if form == "parquet" else features}


def write(form: str, folder: Path, columns: dict[str, list[Any]], types: dict[str, Any]) -> Path:
    if form == "csv":
        columns.pop("vec", None)
        return write_csv(folder / "log.csv", columns)
    return write_parquet(folder / "log.parquet", table_of(columns, types))


def expect_ledger(case: Case, counts: Counts | None) -> None:
    if not case.rows:
        assert counts is None
        return
    assert counts is not None
    counts.check()
    filtered = {"duplicate": case.duplicates} if case.duplicates else {}
    trained = case.rows - case.bad_rows - case.duplicates - case.masked
    told = (counts.read, counts.used, counts.masked, counts.quarantined, counts.filtered)
    assert told == (case.rows, trained, case.masked, case.bad_rows, filtered)
