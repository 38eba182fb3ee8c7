"""How much of the validation part the vocabularies do not know."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import pyarrow as pa

from polyrank.data import Encoders

MANY = 0.5
"""The share of a feature's ids above which a user should know."""


class Unseen:
    """Watches chunks go by; shares are means over rows.

    Args:
        encoders: Fitted on the training part.
    """

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders
        self._rows: dict[str, int] = {}
        self._unseen: dict[str, float] = {}

    def watch(self, chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same chunks, looked at."""
        for chunk in chunks:
            for feature, share in self._encoders.unseen(chunk).items():
                if not math.isnan(share):
                    rows = chunk.num_rows
                    self._rows[feature] = self._rows.get(feature, 0) + rows
                    self._unseen[feature] = self._unseen.get(feature, 0.0) + share * rows
            yield chunk

    def notices(self) -> list[str]:
        """One for each feature whose ids are mostly out of vocabulary."""
        shares = {feature: self._unseen[feature] / rows for feature, rows in self._rows.items()}
        return [
            f"{share:.0%} of the validation ids of feature {feature!r} are not in its vocabulary"
            for feature, share in shares.items()
            if share > MANY
        ]
