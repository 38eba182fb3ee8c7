"""The value model of a trial, as a reader copies it: YAML with a place for each weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO

from polyrank.fusion.base import ValueModel

PLACE = "WEIGHT-{}-HERE"
"""What stands for the weight with this number, in the order of the weights."""


def template(model: ValueModel, weights: Sequence[str]) -> str:
    """The model's YAML with ``PLACE`` for each of the weights named."""
    # Numbers that no other part of the model has, so that they are found again in its tree.
    standing = {name: 0.123456789 + place * 1e-9 for place, name in enumerate(weights)}
    places = {value: PLACE.format(place) for place, value in enumerate(standing.values())}
    tuned = model.tuned(standing)
    said = _said(
        tuned.model_dump(mode="json"), tuned.model_dump(mode="json", exclude_defaults=True)
    )
    return as_yaml(_replaced(said, places))


def _replaced(tree: object, places: Mapping[float, str]) -> object:
    if isinstance(tree, dict):
        return {key: _replaced(value, places) for key, value in tree.items()}
    return places.get(tree, tree) if isinstance(tree, float) else tree


def _said(full: object, without_defaults: object) -> object:
    """What is not a default, and every ``kind``, without which it would not be read."""
    if not (isinstance(full, dict) and isinstance(without_defaults, dict)):
        return without_defaults
    return {
        key: _said(value, without_defaults.get(key, value))
        for key, value in full.items()
        if key in without_defaults or key == "kind"
    }


def as_yaml(tree: object) -> str:
    """Plain data as a reader would write it."""
    from ruamel.yaml import YAML

    text = StringIO()
    YAML(pure=True).dump(tree, text)
    return text.getvalue()
