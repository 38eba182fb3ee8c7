"""The base of every declarative object: frozen, typed, closed to unknown keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

NAME_PATTERN = r"^[^\s./\\]+$"

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=NAME_PATTERN)]
"""A name a user can address: no white space, dot or slash, 1 to 128 characters."""

Column = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""The name of a column as it stands in the log."""


class Declared(BaseModel):
    """A frozen, keyword-only piece of a declaration; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


class Faults(ValueError):
    """Several faults that one validator found: pairs of a key path below it and what is wrong.

    ``parse`` reports each on its own.
    """

    def __init__(self, faults: Iterable[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(message for _, message in self.faults))
