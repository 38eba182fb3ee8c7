"""The model that a run starts from, and what the run made of it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.bundle import Bundle
from polyrank.config import EvaluationConfig, RunConfig
from polyrank.errors import ConfigError
from polyrank.scoring import Scorer, measure_gains
from polyrank.training import Span
from polyrank.training.extension import Parent, extend_config

Rows = Callable[[str], Iterator[pa.Table]]
"""The rows of a part of the log, by its name."""


def parent_of(bundle: Bundle) -> Parent:
    """A bundle as what a run starts from."""
    return Parent(
        schema=bundle.schema,
        encoders=bundle.encoders,
        model=bundle.model,
        config=bundle.model_config,
        version=bundle.version or _digest(bundle),
    )


def extended(config: RunConfig, bundle: Bundle | None) -> tuple[RunConfig, Parent | None]:
    """The configuration as it is trained, and what the run starts from.

    Args:
        config: As it was written.
        bundle: The parent; null: the run starts from nothing.

    Raises:
        ConfigError: It does not extend the parent, or freezes one that is not there.
    """
    if bundle is not None:
        parent = parent_of(bundle)
        return extend_config(config, parent), parent
    if config.training.freeze is not None:
        raise ConfigError(
            f"{config.training.freeze!r} freezes what a parent has, and the run starts from none",
            where="training.freeze",
            hint="Give the parent with --from (`parent` in Python), or leave `freeze` out.",
        )
    return config, None


def lineage(config: RunConfig, parent: Parent | None) -> dict[str, Any]:
    """What a card says of the parent, without gains."""
    if parent is None:
        return {}
    return {
        "version": parent.version,
        "added": list(parent.added(config.schema_)),
        "freeze": config.training.freeze,
        "gains": {},
    }


def with_gains(
    bundle: Bundle, parent: Bundle, parts: Sequence[str], rows: Rows, config: EvaluationConfig
) -> Bundle:
    """The bundle, with what its parent's tasks gained on each part in its card."""
    a, b = Scorer(parent), Scorer(bundle)
    gains = {part: measure_gains(a, b, rows(part), config).to_json() for part in parts}
    told: Mapping[str, Any] = bundle.card.parent | {"gains": gains}
    return dataclasses.replace(bundle, card=bundle.card.model_copy(update={"parent": told}))


def seen_by(parent: Bundle, dates: Mapping[str, Span], parts: Sequence[str]) -> Iterator[str]:
    """Why gains on some parts would flatter the parent; nothing where no time is known.

    Args:
        parent: With the dates of its training rows in its card.
        dates: Of the parts of the new run's log.
        parts: Those that both are compared on.
    """
    train = parent.card.data.get("train")
    for part in parts:
        first = dates[part].first
        if train is None or train.last is None or first is None:
            continue
        moments = [int(text) if text.isdecimal() else text for text in (first, train.last)]
        if type(moments[0]) is type(moments[1]) and moments[0] <= moments[1]:  # type: ignore[operator]
            yield (
                f"{part} begins at {first}, before the parent's training rows end ({train.last}): "
                "the parent may have seen what it is compared on"
            )


def _digest(bundle: Bundle) -> str:
    """Of weights and encoders, for a bundle that was not saved."""
    digest = hashlib.sha256(bundle.encoders.fingerprint().encode())
    for name, value in sorted(bundle.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.cpu().numpy()).view(np.uint8).data)
    return digest.hexdigest()
