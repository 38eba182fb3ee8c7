"""From a plain tree (YAML, JSON) to a declared object, with errors a person can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from polyrank.schema.refusal import config_error

ModelT = TypeVar("ModelT", bound=BaseModel)


def parse(model: type[ModelT], tree: Mapping[str, Any], *, where: str = "") -> ModelT:
    """Build ``model`` from ``tree``.

    Args:
        model: The declared class.
        tree: Plain mappings, lists and scalars.
        where: What the tree is (a file name); every message starts with it.

    Raises:
        ConfigError: One problem for each fault in the tree, all at once, each with its key path,
            the value received and, for an unknown key, the nearest known one.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise config_error(model, error, tree, where) from error
