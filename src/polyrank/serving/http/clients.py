"""Who asks: the address a request came from, or the one a trusted proxy had it from.

>>> proxies = Proxies(["10.0.0.0/8"])
>>> proxies.client("10.0.0.1", b"203.0.113.9, 198.51.100.7, 10.0.0.2")
'198.51.100.7'
>>> proxies.client("198.51.100.7", b"203.0.113.9")
'198.51.100.7'
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_HOPS = 32
"""Proxies one behind the other that are followed back."""


class Proxies:
    """Proxies of ours, whose word is taken for where a request came from.

    Each proxy writes who asked it at the end of ``X-Forwarded-For``; what stands before that was
    said by whoever asked. So the entries are read from the end, and the first that is no proxy of
    ours is the client: whatever it wrote itself stands before it and is not read.

    Args:
        trusted: Networks or addresses; none: the header is not read.

    Raises:
        ValueError: One is neither.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = tuple(network_of(text) for text in trusted)

    def client(self, peer: str, forwarded: bytes) -> str:
        """The address of the client.

        An entry that is no address is not followed: the proxy that wrote it counts.

        Args:
            peer: Where the connection comes from.
            forwarded: ``X-Forwarded-For``, all of them in order, as one list.
        """
        if not self._trusted or not forwarded:
            return peer
        client = peer
        for entry in reversed(forwarded.rsplit(b",", MAX_HOPS)):
            if not self._trusts(client):
                break
            address = address_of(entry.strip().decode("latin-1"))
            if address is None:
                break
            client = str(address)
        return client

    def _trusts(self, client: str) -> bool:
        address = address_of(client)
        return address is not None and any(address in network for network in self._trusted)


def address_of(text: str) -> _Address | None:
    """An address, IPv4 in its own form where it comes as IPv6; none where it is none.

    >>> address_of("::ffff:10.0.0.1"), address_of("unknown")
    (IPv4Address('10.0.0.1'), None)
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def network_of(text: str) -> Network:
    """A network, or an address as one of its own.

    Raises:
        ValueError: It is neither.
    """
    return ipaddress.ip_network(text)
