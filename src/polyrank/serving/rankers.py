"""What ranks by each version, made once and kept while it is in use."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from time import monotonic
from typing import Any

from polyrank.scoring import Scorer
from polyrank.serving.features import Counts, Provider, Stores
from polyrank.serving.infer import spec_of
from polyrank.serving.models import Served
from polyrank.serving.predictions import types_of
from polyrank.serving.protocol import ModelSpec
from polyrank.serving.ranking import ModelRanker, Pass

LOOK_SECONDS = 1.0
"""Between looks for versions that serve no more."""
COMING_SECONDS = 300.0
"""For which a version that was admitted is kept, until those are tried that came with it."""


class Desk:
    """A version's ranker with what the Open Inference Protocol says of it."""

    def __init__(
        self,
        ranker: ModelRanker,
        provider: Provider,
        spec: ModelSpec,
        types: Mapping[str, Any],
    ) -> None:
        self.ranker = ranker
        self.provider = provider
        self.spec = spec
        self.types = types


class Rankers:
    """The rankers of all versions that serve.

    What no version has and no request reads any more is let go of, and its stores are closed.

    Args:
        features: By model, where features by id are.
        linger: Seconds, as of ``Batcher``.
        told: Called with the model's name and each pass.
        scorers: Tells the scorers of all versions that may be asked.
    """

    def __init__(
        self,
        features: Mapping[str, Stores],
        *,
        linger: float,
        told: Callable[[str, Pass], None],
        scorers: Callable[[], Collection[Scorer]],
    ) -> None:
        self._features = dict(features)
        self._linger = linger
        self._told = told
        self._scorers = scorers
        self._lock = threading.Lock()
        self._desks: dict[Scorer, Desk] = {}
        self._coming: dict[Scorer, float] = {}
        """What was admitted and is in no version yet, and until when it is kept."""
        self._next_look = monotonic() + LOOK_SECONDS

    def of(self, served: Served) -> Desk:
        """The version's own.

        Raises:
            ConfigError, ArtefactError: Its stores cannot be opened.
        """
        found = self._desks.get(served.scorer)
        if found is not None and monotonic() < self._next_look:
            return found
        with self._lock:
            found = self._desks.get(served.scorer) or self._made(served)
            wanted = {*self._still_coming(), *self._scorers(), served.scorer}
            kept = {scorer: desk for scorer, desk in self._desks.items() if scorer in wanted}
            self._desks = {**kept, served.scorer: found}
            self._next_look = monotonic() + LOOK_SECONDS
            return found

    def admit(self, served: Served) -> None:
        """Open what a version needs before it may serve.

        Raises:
            ConfigError, ArtefactError: Its stores cannot be opened, or do not fit it.
        """
        made = self._made(served)
        with self._lock:
            self._desks = {**self._desks, served.scorer: made}
            self._coming[served.scorer] = monotonic() + COMING_SECONDS

    def counts(self) -> list[tuple[str, dict[str, Counts]]]:
        """By version the model's name, and by side table what its store counted."""
        return [(desk.spec.name, desk.provider.counts()) for desk in self._desks.values()]

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            self._desks, self._coming = {}, {}

    def _still_coming(self) -> Collection[Scorer]:
        """What was admitted, is in no version yet and may be soon; the lock is held."""
        here, now = self._scorers(), monotonic()
        self._coming = {
            scorer: until
            for scorer, until in self._coming.items()
            if scorer not in here and now < until
        }
        return self._coming

    def _made(self, served: Served) -> Desk:
        bundle, name = served.bundle, served.model
        provider = Provider.open(bundle.schema, bundle.tables, self._features.get(name, {}))
        told = self._told
        ranker = ModelRanker(
            served.scorer, provider, linger=self._linger, told=lambda each: told(name, each)
        )
        weakref.finalize(ranker, provider.close)
        return Desk(ranker, provider, spec_of(name, ranker.requests), types_of(bundle))
