"""Behind a proxy: who a client is, whatever it says itself."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from polyrank.serving.http import Limits
from polyrank.serving.http.clients import Proxies
from polyrank.serving.http.rates import client_key
from tests.serving.http.app import world
from tests.serving.http.wire import Wire, request

OURS = ("10.0.0.0/8", "127.0.0.1", "2001:db8::/32")
TRUSTED = ["10.1.2.3", "127.0.0.1", "2001:db8::7", "::ffff:10.9.9.9"]
LIMITS = Limits(rate_per_second=0.001, rate_burst=1, grace_seconds=0, trusted_proxies=OURS)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", b"203.0.113.9", "198.51.100.7"),
        ("10.0.0.1", b"203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"1.1.1.1,203.0.113.9 ,\t10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", b"1.1.1.1, unknown", "10.0.0.1"),
        ("10.0.0.1", b"1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"203.0.113.9:4711", "10.0.0.1"),
        ("::ffff:10.0.0.1", b"2001:db9::1", "2001:db9::1"),
        ("2001:db8::1", b"::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"\xff\xfe, ,", "10.0.0.1"),
        ("a socket", b"203.0.113.9", "a socket"),
    ],
)
def test_the_last_address_that_is_no_proxy_of_ours_is_the_client(
    peer: str, forwarded: bytes, client: str
) -> None:
    assert Proxies(OURS).client(peer, forwarded) == client
    assert Proxies().client(peer, forwarded) == peer


@given(
    st.lists(st.one_of(st.binary(max_size=9), st.sampled_from([b"10.0.0.9", b"8.8.8.8"]))),
    st.lists(st.sampled_from(TRUSTED), max_size=4),
)
def test_g4_nothing_a_client_writes_makes_it_another(
    written: list[bytes], proxies: list[str]
) -> None:
    said = b", ".join(written)
    hops = [*([said] if said else []), b"203.0.113.9", *(each.encode() for each in proxies)]
    assert Proxies(OURS).client("10.0.0.1", b", ".join(hops)) == "203.0.113.9"


def asked(wire: Wire, forwarded: str, **more: str) -> int:
    wire.send(request("POST", body=b"x", x_forwarded_for=forwarded, **more))
    return wire.reply().status


def test_g4_behind_a_proxy_each_client_has_a_rate_of_its_own() -> None:
    with world(LIMITS) as it, Wire(it.port) as wire:
        assert asked(wire, "203.0.113.1") == 200
        assert asked(wire, "203.0.113.3", X_Forwarded_For="203.0.113.2") == 200
        assert asked(wire, "203.0.113.9, 203.0.113.1") == 429
        assert asked(wire, "203.0.113.9", X_Forwarded_For="203.0.113.2") == 429


def test_unless_a_proxy_is_trusted_its_word_counts_for_nothing() -> None:
    limits = LIMITS.model_copy(update={"trusted_proxies": ()})
    with world(limits) as it, Wire(it.port) as wire:
        assert [asked(wire, "203.0.113.1"), asked(wire, "203.0.113.2")] == [200, 429]


def test_a_proxy_that_is_no_network_is_refused() -> None:
    for wrong in ("proxy.example", "10.0.0.1/8", "10.0.0.0/33", ""):
        with pytest.raises(ValidationError, match="trusted_proxies"):
            Limits(trusted_proxies=(wrong,))


@given(st.ip_addresses(v=4))
def test_an_ipv4_client_is_itself_on_a_socket_for_both(address: ipaddress.IPv4Address) -> None:
    assert client_key(f"::ffff:{address}") == client_key(str(address)) == str(address)
