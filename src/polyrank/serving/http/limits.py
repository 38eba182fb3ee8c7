"""How much of everything one client, or all of them, may take."""

from __future__ import annotations

import os
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from polyrank.serving.http.clients import network_of

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Pause = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
KIB = 1024
MIB = 1024 * KIB
_MOST_PLACES = 8


def usual_places() -> int:
    """Requests that are worth computing at once on the cores this process may use.

    Those that are computed together share passes of the model, and each waits for all: on one core
    200 candidates cost 10.4, 9.0, 6.8, 6.9 and 6.2 ms of CPU by 1, 2, 3, 4 and 8 places, and 1,000
    cost 25.7, 22.4, 25.2, 16.7 and 18.8. So 4, one more for each further core, and at most 8.
    """
    there = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if there else os.cpu_count() or 1
    return min(_MOST_PLACES, 3 + cores)


class Limits(BaseModel):
    """Bounds of the server, in bytes, seconds and counts.

    Sizes
        ``max_body_bytes`` of one request, as sent and as decoded; ``max_buffered_bytes`` of all
        bodies held at once; ``max_header_bytes`` and ``max_headers`` of one request;
        ``max_target_bytes`` of its path with query.
    Slow clients
        ``header_seconds`` from the first byte, or from connecting, to the end of the headers;
        ``body_seconds`` from there to the end of the body; ``idle_seconds`` between requests;
        ``write_seconds`` for which an answer may stand unread; ``linger_seconds`` for which a
        refused sender may still send, so that it can read why.
    Load
        ``max_connections`` open (fewer where the process may not open as many files);
        ``max_requests`` computed at once, ``usual_places()`` unless it is given; ``queue_length``
        that wait for their turn, if they can expect it within ``queue_seconds``, or within
        ``standing_seconds`` once that was too little, until less arrives in ``overload_seconds``
        than can be served in them (``pace.Pace``);
        ``rate_per_second`` with bursts of ``rate_burst`` for each client, of whom
        ``rate_clients`` are remembered. No rate unless it is given. Clients are told apart by the
        address they connect from or, where that is one of ``trusted_proxies`` (networks or
        addresses; none unless given), by the last one in ``X-Forwarded-For`` that is not.
    Deadlines
        of a request: ``default_deadline_seconds`` unless it brings ``X-Deadline-Ms``, and never
        more than ``max_deadline_seconds``.
    Leaving
        after SIGTERM: ``grace_seconds`` in which requests are still taken while readiness says no,
        then ``drain_seconds`` for what was taken.
    Origins
        ``allowed_hosts`` a request may name, health checks too (all where none is given);
        ``content_types`` a body may have, beside none at all; answers from ``gzip_from_bytes``
        on are compressed for clients that accept it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: Count = 16 * MIB
    max_buffered_bytes: Count = 256 * MIB
    max_header_bytes: Count = 32 * KIB
    max_headers: Count = 100
    max_target_bytes: Count = 8 * KIB

    header_seconds: Seconds = 10.0
    body_seconds: Seconds = 30.0
    idle_seconds: Seconds = 60.0
    write_seconds: Seconds = 30.0
    linger_seconds: Seconds = 2.0

    max_connections: Count = 1_000
    max_requests: Count = Field(default_factory=usual_places)
    queue_length: Annotated[int, Field(ge=0)] = 48
    queue_seconds: Seconds = 1.0
    standing_seconds: Seconds = 0.02
    overload_seconds: Seconds = 1.0
    rate_per_second: Seconds | None = None
    rate_burst: Count = 100
    rate_clients: Count = 10_000
    trusted_proxies: tuple[str, ...] = ()

    default_deadline_seconds: Seconds = 10.0
    max_deadline_seconds: Seconds = 60.0

    grace_seconds: Pause = 5.0
    drain_seconds: Seconds = 8.0

    allowed_hosts: tuple[str, ...] = ()
    content_types: tuple[str, ...] = ("application/json", "application/octet-stream")
    gzip_from_bytes: Count = KIB

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            network_of(text)
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for small, large in (
            ("default_deadline_seconds", "max_deadline_seconds"),
            ("max_body_bytes", "max_buffered_bytes"),
            ("max_target_bytes", "max_header_bytes"),
            ("standing_seconds", "queue_seconds"),
        ):
            if getattr(self, small) > getattr(self, large):
                raise ValueError(
                    f"`{small}` must be at most `{large}`, "
                    f"got {getattr(self, small)} and {getattr(self, large)}"
                )
        return self
