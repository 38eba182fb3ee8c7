"""Side tables that the log hardly finds its keys in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from polyrank.data.ledger import Counts
from polyrank.data.lint import DataWarning
from polyrank.errors import DataError

FEW = 0.5
"""The share of rows with a row in a side table below which a user should know."""
_HINT = "Check `on` and `key` of the table, and that both write the same ids alike."


def absent_note(table: str) -> str:
    """What the ledger calls the rows without a row in ``table``."""
    return f"no row in table {table!r}"


def match_problems(rows: int, absent: Mapping[str, int]) -> Iterator[DataError]:
    """An error where no row has its key in a table, a ``DataWarning`` where few have.

    Args:
        rows: Rows joined.
        absent: By table, the rows of them without a row there.
    """
    for table, count in absent.items():
        where = f"table {table!r}"
        if rows and count == rows:
            yield DataError(f"none of {rows:,} rows finds its key there", where=where, hint=_HINT)
        elif rows - count < FEW * rows:
            yield DataWarning(
                f"{rows - count:,} of {rows:,} rows ({1 - count / rows:.1%}) find their key there; "
                "for the others its features are missing",
                where=where,
                hint=_HINT,
            )


def match_notices(counts: Counts, tables: Iterable[str]) -> list[str]:
    """The warnings for a part that was read.

    Raises:
        DataError: A table has a row for none.
    """
    absent = {table: counts.noted.get(absent_note(table), 0) for table in tables}
    notices = []
    for problem in match_problems(counts.used + counts.masked, absent):
        if not isinstance(problem, DataWarning):
            raise problem
        notices.append(str(problem))
    return notices
