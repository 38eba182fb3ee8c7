"""A store that may fail, and how a request gets on without it.

A failure is never the request's: it gets nulls, which encoders take as unknown, and is told so. The
log of the process is told once when a store is left alone, and once when it answers again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from polyrank.serving.deadline import Deadline
from polyrank.serving.features.backend import Backend, StoreDown, StoreLate
from polyrank.serving.features.breaker import Breaker
from polyrank.serving.features.codec import RowCodec
from polyrank.serving.features.columns import WrongBytes
from polyrank.serving.features.counts import Counter, Counts
from polyrank.serving.features.keys import key_bytes, keys_of
from polyrank.serving.features.store import Fetched, Id, Reason

_logger = logging.getLogger("polyrank.serving")


class GuardedStore:
    """A side table in another process or file, behind a time limit and a circuit breaker.

    Args:
        backend: Where the bytes are.
        codec: What they mean.
        timeout_s: Seconds a call may take, also where the request has more left.
        breaker: Leaves a failing store alone.
    """

    def __init__(
        self, backend: Backend, codec: RowCodec, *, timeout_s: float, breaker: Breaker
    ) -> None:
        self._backend = backend
        self._codec = codec
        self._timeout_s = timeout_s
        self._breaker = breaker
        self._counter = Counter()
        self._telling = threading.Lock()
        self._is_left_alone = False

    @property
    def counts(self) -> Counts:
        """What was counted since it was opened."""
        return self._counter.read()

    def fetch(self, ids: Sequence[Id] | pa.Array, deadline: Deadline) -> Fetched:
        """See ``FeatureStore.fetch``."""
        keys = key_bytes(keys_of(ids, self._codec.key_type, self._codec.name))
        if all(key is None for key in keys):  # nothing to ask for
            self._counter.add(calls=1)
            return Fetched(self._codec.nothing(len(keys)), np.zeros(len(keys), np.bool_))
        if deadline.expired():
            return self._defaults(len(keys), "deadline", skipped=1)
        if not self._breaker.admits():
            return self._defaults(len(keys), "open", skipped=1)
        return self._fetch(keys, deadline)

    def describe(self) -> dict[str, Any]:
        """Kind and state of the breaker."""
        return {"kind": self._backend.kind, "breaker": self._breaker.state}

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()

    def _fetch(self, keys: Sequence[bytes | None], deadline: Deadline) -> Fetched:
        """One admitted call; the breaker is told how it ended, whatever happens."""
        tell = self._breaker.undecided
        reason: Reason | None = None
        limit = deadline.tightened(self._timeout_s)
        try:
            found = self._asked(keys, limit)
            tell = self._breaker.succeeded
        except StoreLate:
            if limit.at < deadline.at:  # else the request had no time left, whoever took it
                tell = self._breaker.failed
            reason = "timeout"
            return self._defaults(len(keys), reason, timeouts=1)
        except (StoreDown, WrongBytes) as error:
            tell = self._breaker.failed
            reason = "down" if isinstance(error, StoreDown) else "wrong"
            return self._defaults(len(keys), reason, failures=1)
        finally:
            tell()
            self._heard(reason)
        return found

    def _heard(self, reason: Reason | None) -> None:
        """Tell the log what changed by a call that ended so."""
        name, kind = self._codec.name, self._backend.kind
        with self._telling:
            state = self._breaker.state
            if reason is None and self._is_left_alone and state == "closed":
                self._is_left_alone = False
                _logger.info("side table %r: %s answers again", name, kind)
            elif reason and not self._is_left_alone and state == "open":
                self._is_left_alone = True
                told = "side table %r: %s is left alone after failures, the last one %r: defaults"
                _logger.warning(told, name, kind, reason)

    def _asked(self, keys: Sequence[bytes | None], limit: Deadline) -> Fetched:
        wanted = [key for key in keys if key is not None]
        answers = iter(self._backend.get(wanted, limit))
        rows = [None if key is None else next(answers) for key in keys]
        table = self._codec.taken(keys, rows)
        known_N = np.fromiter((row is not None for row in rows), np.bool_, len(rows))
        hits = int(known_N.sum())
        self._counter.add(calls=1, hits=hits, unknown=len(wanted) - hits)
        return Fetched(table, known_N)

    def _defaults(self, number: int, reason: Reason, **counted: int) -> Fetched:
        self._counter.add(calls=1, degraded=1, **counted)
        return Fetched(self._codec.nothing(number), np.zeros(number, np.bool_), reason)
