"""What a store of bytes by key has to do, and what it may say instead of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from polyrank.errors import ArtefactError
from polyrank.serving.deadline import Deadline
from polyrank.serving.features.codec import RowCodec


class StoreDown(ConnectionError):
    """The store cannot be reached, or refuses to answer."""


class StoreLate(TimeoutError):
    """No whole answer by the deadline."""


class Backend(Protocol):
    """Rows of one side table as bytes, by key; any number of threads may call it at once."""

    kind: str

    def get(self, keys: Sequence[bytes], deadline: Deadline) -> Sequence[bytes | None]:
        """The row of each key, None where there is none; all of them or an error.

        Raises:
            StoreDown: It cannot be reached.
            StoreLate: The deadline passed.
            WrongBytes: What came is no answer.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections, at once or once they are given back."""
        ...


def check_header(header: Any, codec: RowCodec, where: str) -> None:
    """Refuse what was filled for other columns.

    Args:
        header: As ``RowCodec.header``, of what fills the store; None: nothing does.
        codec: Of the table that is wanted.
        where: The store, for messages, without secrets.

    Raises:
        ArtefactError: It says what differs.
    """
    if header == codec.header:
        return
    cure = "Fill it with `polyrank features load`."
    if not isinstance(header, dict):
        told = f"holds no rows of side table {codec.name!r}"
    elif header.get("format") != codec.header["format"]:
        told = f"holds side table {codec.name!r} in a format that is not known here"
    else:
        differs = "; ".join(_differences(header, codec.header))
        told = f"holds side table {codec.name!r} with other columns: {differs}"
    raise ArtefactError(told, where=where, hint=cure)


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    there, asked = found.get("columns", {}), wanted["columns"]
    told = [f"lacks {name!r}" for name in asked if name not in there]
    told += [f"has {name!r}, which nothing reads" for name in there if name not in asked]
    told += [
        f"{name!r} is {there[name]}, not {kind}"
        for name, kind in asked.items()
        if name in there and there[name] != kind
    ]
    if found.get("key") != wanted["key"]:
        told.append(f"its key is {found.get('key')}, not {wanted['key']}")
    return told or ["their order"]
