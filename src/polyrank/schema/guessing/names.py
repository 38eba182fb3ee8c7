"""Names a user can address, from columns that may be called anything."""

from __future__ import annotations

import re
from collections.abc import Collection

from polyrank.errors import ConfigError
from polyrank.schema.refusal import NAME_PATTERN

_MAX_LENGTH = 128


def check_name(name: str, what: str) -> None:
    """Refuse the ``name`` of a ``what`` that cannot be addressed.

    Raises:
        ConfigError: It is empty, too long, or holds white space, a dot or a slash.
    """
    if name != name_for(name):
        raise ConfigError(
            f"{name!r} is no name: it must hold no white space, dot or slash",
            where=what,
            hint=f"Call it {name_for(name)!r}.",
        )


def name_for(column: str, taken: Collection[str] = ()) -> str:
    """A valid name close to ``column``, none of ``taken``: ``"my label"`` is ``"my_label"``."""
    clean = re.sub(r"[\s./\\]+", "_", column)[:_MAX_LENGTH]
    name = clean if re.match(NAME_PATTERN, clean) else "column"
    number = 1
    unique = name
    while unique in taken:
        number += 1
        tail = f"_{number}"
        unique = name[: _MAX_LENGTH - len(tail)] + tail
    return unique
