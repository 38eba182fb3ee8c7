"""What a run trains and is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from polyrank.data import EncodedLog, Encoders, Ledger
from polyrank.training.spans import Span


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A log, fitted and encoded."""

    encoders: Encoders
    train: EncodedLog
    validation: EncodedLog
    test: EncodedLog | None
    tables: Mapping[str, pa.Table]
    """The side tables by name, as they were joined to the encoded rows."""
    ledger: Ledger
    """Where every row that was read went."""
    data_dates: Mapping[str, Span]
    """Rows kept, first and last time of each part."""
    fingerprint: str
    """Of everything that decides the encoded rows."""
    provenance: Mapping[str, str]
    """Fingerprints of log, encoders and configuration, and the names of the files."""
    notices: tuple[str, ...] = ()
    """Columns that nothing reads, features whose validation ids are mostly unknown."""
