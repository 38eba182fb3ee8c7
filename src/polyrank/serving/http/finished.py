"""What is known of a request when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

CLIENT_GONE = 499
"""Status, in logs and metrics only, of a request whose client did not wait for the answer."""
NO_ROUTE = "-"
"""Route of a request that reached none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One request, without anything that it said.

    Attributes:
        request_id: Echoed to the client.
        method: One that apps are asked about, else ``"-"``.
        route: The template it matched, such as ``"/v2/models/{model}/infer"``; never the path.
        status: Of the answer, or ``CLIENT_GONE``.
        seconds: From its headers to the end of the answer.
        stages: Seconds by stage; ``read`` and ``queue`` are known of each, the app adds its own.
        bytes_in: Of the body as sent, headers apart.
        bytes_out: Of the answer's body as sent.
        candidates: That were to be ranked, where the app said so.
    """

    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    stages: Mapping[str, float] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    candidates: int | None = None


Report = Callable[[Finished], None]


def unreported(_: Finished) -> None:
    """Where nobody keeps a log."""
