"""What is logged, and how much room it may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from polyrank.schema import Declared
from polyrank.schema.model import Column


class PredictionLogSettings(Declared):
    """The prediction log."""

    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of requests that are logged, each whole, chosen by a hash of its id: every server
    chooses alike."""
    features: Literal["none", "all"] | tuple[Column, ...] = "none"
    """The schema's feature columns that are logged, as the model read them: ``all``, or some.
    ``none``: only keys, and what calibration and value models read beside predictions."""
    candidates: Literal["shown", "all"] = "shown"
    """``all``: those that were ranked and not answered, too; estimates of other rankings need
    them."""
    queue_bytes: PositiveInt = 64 * 2**20
    """Of requests that wait to be written; more are dropped and counted."""
    file_bytes: PositiveInt = 64 * 2**20
    """A file is finished once it is about as large."""
    file_seconds: PositiveFloat = 300.0
    """A file is finished once its first request is that old: what a killed process may lose."""
    keep_files: PositiveInt = 10_000
    """Of a model; the oldest are removed."""
    keep_bytes: PositiveInt = 10 * 2**30
    """Of a model's finished files; the oldest are removed."""
    retry_seconds: PositiveFloat = 10.0
    """How long nothing is written after the disk refused."""
