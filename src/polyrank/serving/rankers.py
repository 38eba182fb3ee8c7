"""What ranks by each version, made once and kept while it is in use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from polyrank.serving.features import Counts, Provider, Stores
from polyrank.serving.infer import spec_of
from polyrank.serving.models import Served
from polyrank.serving.protocol import ModelSpec
from polyrank.serving.ranking import ModelRanker, Pass

MAX_KEPT = 16
"""Versions whose rankers are kept; of the one longest not asked the stores are closed."""
_Key = tuple[str, str]


class Desk:
    """A version's ranker with what the Open Inference Protocol says of it."""

    def __init__(self, ranker: ModelRanker, provider: Provider, spec: ModelSpec) -> None:
        self.ranker = ranker
        self.provider = provider
        self.spec = spec


class Rankers:
    """The rankers of all versions.

    Args:
        features: By model, where features by id are.
        linger: Seconds, as of ``Batcher``.
        told: Called with the model's name and each pass.
    """

    def __init__(
        self,
        features: Mapping[str, Stores],
        *,
        linger: float,
        told: Callable[[str, Pass], None],
    ) -> None:
        self._features = dict(features)
        self._linger = linger
        self._told = told
        self._lock = threading.Lock()
        self._desks: OrderedDict[_Key, Desk] = OrderedDict()

    def of(self, served: Served) -> Desk:
        """The version's own.

        Raises:
            ConfigError, ArtefactError: Its stores cannot be opened.
        """
        key = (served.model, served.content)
        with self._lock:
            found = self._desks.get(key)
            if found is None or found.ranker.requests.scorer is not served.scorer:
                found = self._desks[key] = self._made(served)
            self._desks.move_to_end(key)
            while len(self._desks) > MAX_KEPT:
                self._desks.popitem(last=False)[1].provider.close()
            return found

    def counts(self) -> dict[_Key, dict[str, Counts]]:
        """By model and content, then by side table: what stores counted."""
        with self._lock:
            return {key: desk.provider.counts() for key, desk in self._desks.items()}

    def close(self) -> None:
        """Close all stores."""
        with self._lock:
            for desk in self._desks.values():
                desk.provider.close()
            self._desks.clear()

    def _made(self, served: Served) -> Desk:
        bundle, name = served.bundle, served.model
        provider = Provider.open(bundle.schema, bundle.tables, self._features.get(name, {}))
        told = self._told
        ranker = ModelRanker(
            served.scorer, provider, linger=self._linger, told=lambda each: told(name, each)
        )
        return Desk(ranker, provider, spec_of(name, ranker.requests))
