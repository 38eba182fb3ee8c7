"""How the rows of a request and one side table are put together, by the rules of the offline join.

``data.join`` and ``data.plan`` are those rules; scoring with columns from here and with a join
there gives the same bits, which is a law of the tests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from polyrank.data.arrays import is_text, plain_type
from polyrank.data.casts import cast
from polyrank.data.roles import Use, feature_uses, gather
from polyrank.data.types import canonical, refusal
from polyrank.errors import DataError, suggest
from polyrank.schema import Schema, SideTable

_TEXT_LISTS = pa.large_list(pa.large_string())


class Side:
    """One side table of a schema.

    Args:
        side: Its declaration.
        schema: Whose features say how the columns are read.
        columns: Names and types of the table's columns, the key among them.
        kinds: Types of the key columns of all side tables, by their names in the log.
    """

    def __init__(
        self, side: SideTable, schema: Schema, columns: Any, kinds: Mapping[str, Any]
    ) -> None:
        self.name = side.name
        self.columns = tuple(name for name in columns.names if name != side.key)
        """What the table adds."""
        self._names = frozenset(self.columns)
        self._on = side.on
        self._key = side.key
        self._key_type = columns.field(side.key).type
        uses = gather(schema, [feature_uses(schema, bias=False)])
        self._split = {
            name: uses[name].shares
            for name in self.columns
            if name in uses and "joined_ids" in uses[name].roles
        }
        """Columns of lists split from text, and whose ids they share, if anybody's."""
        own = {side.on: [Use("id", f"key of table {side.name!r}")]}
        self._kinds = kinds
        self._ids = gather(schema, [feature_uses(schema, bias=False), own])[side.on]

    def keys_in(self, table: pa.Table) -> Any:
        """(N,) The ids that rows are looked up by, null where there is none.

        A value that is no id (2.5) is null: the scorer refuses its row.

        Raises:
            DataError: The column is missing, or of another kind than the key.
        """
        if self._on not in table.column_names:
            raise DataError(
                f"lacks column {self._on!r} (key of table {self.name!r})",
                where="candidates",
                hint=suggest(self._on, table.column_names),
            )
        column, wanted = table.column(self._on), self._ids
        for use in wanted.uses:
            if (reason := refusal(use, column.type)) is not None:
                raise DataError(f"column {self._on!r} {reason[0]}", hint=reason[1])
        dtype = canonical(wanted, [column.type])
        if dtype not in (self._key_type, pa.null()):
            raise DataError(
                f"column {self._on!r} is {dtype}, and the key {self._key!r} of table "
                f"{self.name!r} is {self._key_type}: no row would be found",
                hint="Give both the same type.",
            )
        keys, _ = cast(column, wanted, dtype)
        return keys if keys.type == self._key_type else keys.cast(self._key_type)

    def lacking(self, there: Collection[str]) -> Sequence[str]:
        """The table's columns that are not ``there``."""
        given = self._names.intersection(there)
        return [name for name in self.columns if name not in given] if given else self.columns

    def agreeing(self, columns: Mapping[str, Any], given: Any) -> Mapping[str, Any]:
        """Columns of the table; ids split from text as text, where those they share are text.

        Args:
            columns: By name, as the table has them.
            given: Names and types of the request's columns.
        """
        texts = {
            name: columns[name].cast(_TEXT_LISTS)
            for name, shared in self._split.items()
            if name in columns
            and columns[name].type != _TEXT_LISTS
            and self._is_text(shared, given)
        }
        return {**columns, **texts}

    def _is_text(self, shared: str | None, given: Any) -> bool:
        """Whether a column of ids holds text, as far as can be known."""
        if shared is None:
            return False
        if shared in self._kinds:
            return is_text(self._kinds[shared])
        return shared in given.names and is_text(plain_type(given.field(shared).type))
