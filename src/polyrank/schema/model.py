"""The base of every declarative object: frozen, typed, closed to unknown keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from polyrank.errors import ConfigError
from polyrank.schema.place import keys_of
from polyrank.schema.refusal import NAME_PATTERN, config_error

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=NAME_PATTERN)]
"""A name a user can address: no white space, dot or slash, 1 to 128 characters."""

Column = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""The name of a column as it stands in the log."""


class Declared(BaseModel):
    """A frozen, keyword-only piece of a declaration; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    if not TYPE_CHECKING:  # pydantic's plugin knows the parameters of every class

        def __init__(self, /, *positional: object, **given: object) -> None:
            """Check what was given.

            Raises:
                ConfigError: Every fault at once, with the nearest known name.
            """
            name = type(self).__name__
            if positional:
                raise ConfigError(
                    f"takes named parameters only, got {positional[0]!r}",
                    where=name,
                    hint=f"Write {name}({next(iter(keys_of(type(self))), '')}=...).",
                )
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise config_error(type(self), error, given, name) from error

        # Inside a tree pydantic builds parts by itself, so that a fault keeps its place.
        __init__.__pydantic_base_init__ = True
