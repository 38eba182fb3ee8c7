"""A token bucket for each client, in a table that does not grow.

>>> rates = Rates(per_second=2.0, burst=1, clients=10)
>>> [rates.wait("10.0.0.7", now=now) for now in (0.0, 0.0, 0.5)]
[0.0, 0.5, 0.0]
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

from polyrank.serving.http.clients import address_of


class Rates:
    """How often each client may ask.

    The table holds the clients seen last; one pushed out of it starts with a full bucket.

    Args:
        per_second: Requests a second a client may keep up, above 0.
        burst: Requests it may make at once after a pause, at least 1.
        clients: Clients remembered, at least 1.
    """

    def __init__(self, per_second: float, burst: int, clients: int) -> None:
        self.per_second = per_second
        self.burst = burst
        self.clients = clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, address: str, now: float) -> float:
        """Takes a token of the client's bucket: 0 if there was one, else seconds until there is.

        Args:
            address: The client's.
            now: The monotonic clock, in seconds.
        """
        key = client_key(address)
        tokens = self._tokens(key, now)
        granted = tokens >= 1.0
        self._buckets[key] = (tokens - granted, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self.clients:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1.0 - tokens) / self.per_second

    def refuses(self, address: str, now: float) -> bool:
        """Whether ``wait`` would find no token; takes none."""
        return self._tokens(client_key(address), now) < 1.0

    def _tokens(self, key: str, now: float) -> float:
        tokens, then = self._buckets.get(key, (float(self.burst), now))
        return min(float(self.burst), tokens + max(0.0, now - then) * self.per_second)


def client_key(address: str) -> str:
    """Who a client is: its address, or the network of 64 bits an IPv6 address is one of many of.

    >>> client_key("2001:db8::1"), client_key("10.0.0.7"), client_key("a socket")
    ('2001:db8::', '10.0.0.7', 'a socket')
    """
    parsed = address_of(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))
    return address if parsed is None else str(parsed)
