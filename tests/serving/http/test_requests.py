"""What a server makes of requests that are too large, malformed, disguised, or only unusual.

Sockets are raw: no client would send most of these.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import hashlib
import json
import random
import re
import select
import socket
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from polyrank.serving.http import Limits
from polyrank.serving.http.exchange import Exchange
from tests.serving.http.app import World, world
from tests.serving.http.wire import Wire, ask, chunks, eventually, request, rss_mib

CAP = 100_000
LIMITS = Limits(
    max_body_bytes=CAP,
    max_buffered_bytes=8 * CAP,
    max_header_bytes=8_192,
    max_target_bytes=2_048,
    max_headers=50,
    linger_seconds=1.0,
    grace_seconds=0,
    drain_seconds=1,
    allowed_hosts=("test", "127.0.0.1"),
)


@pytest.fixture(scope="module")
def it() -> Iterator[World]:
    with world(LIMITS) as it:
        yield it


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size", [0, 1, CAP - 1, CAP, CAP + 1, 20 * CAP])
def test_e6_a_body_up_to_the_cap_arrives_whole_and_one_byte_more_is_refused(
    it: World, size: int
) -> None:
    body = b"z" * size
    whole = ask(it.port, request("POST", body=body))
    pieces = [body[start : start + 7_000] for start in range(0, size, 7_000)]
    chunked = ask(it.port, request("POST", transfer_encoding="chunked") + chunks(*pieces))
    for reply in (whole, chunked):
        if size <= CAP:
            assert reply.status == 200
            assert (reply.json()["size"], reply.json()["sha"]) == (size, sha(body))
        else:
            assert reply.status == 413
            assert str(CAP) in reply.error
            assert reply.headers["connection"] == "close"


def test_e6_a_declared_length_over_the_cap_is_refused_before_a_byte_of_it_is_sent(
    it: World,
) -> None:
    head = request("POST", content_length=str(CAP + 1), expect="100-continue")
    assert ask(it.port, head).status == 413


def test_e6_a_body_in_chunks_that_never_ends_is_cut_at_the_cap_and_not_kept(it: World) -> None:
    with Wire(it.port) as wire:
        wire.send(request("POST", transfer_encoding="chunked"))
        sent = 0
        piece = chunks(b"x" * 50_000)[: -len(b"0\r\n\r\n")]
        try:
            while sent < 200 * CAP:
                wire.send(piece)
                sent += 50_000
        except ConnectionError:
            pass
        assert sent < 200 * CAP


def test_e6_two_framings_of_one_body_are_refused_and_what_is_smuggled_is_no_request(
    it: World,
) -> None:
    it.forget()
    smuggled = request("GET", "/work/smuggled")
    both = request("POST", content_length="5", transfer_encoding="chunked")
    with Wire(it.port) as wire:
        wire.offer(both + b"0\r\n\r\n" + smuggled)
        assert wire.reply().status == 400
        assert wire.rest() == b""
    assert "smuggled" not in it.begun
    eventually(lambda: it.statuses == [400])


@pytest.mark.parametrize(
    "head",
    [
        request("POST", content_length="5", Content_Length="6"),
        request("POST", content_length="-1"),
        request("POST", content_length="+5"),
        request("POST", content_length="5" * 30),
        request("POST", transfer_encoding="gzip, chunked"),
        request("POST", transfer_encoding="xchunked"),
        request("POST", transfer_encoding="chunked", Transfer_Encoding="chunked"),
        request("POST", transfer_encoding="chunked", version="1.0") + chunks(b"a"),
        request("POST", transfer_encoding="chunked") + b"zz\r\n",
        request("POST", transfer_encoding="chunked") + b"-1\r\n",
        request("POST", transfer_encoding="chunked") + b"3\r\nabcdef\r\n",
        request("POST", transfer_encoding="chunked") + b"1" * 100_000,
        request("POST").replace(b"host: test", b"host : test"),
    ],
)
def test_e6_a_body_whose_length_cannot_be_told_is_refused(it: World, head: bytes) -> None:
    reply = ask(it.port, head)
    assert reply.status in (400, 431)
    assert reply.error


def test_e6_a_flood_of_tiny_chunks_is_cut_early_and_small_chunks_are_not(it: World) -> None:
    flood = b"1\r\nx\r\n" * 90_000
    it.forget()
    began = time.perf_counter()
    assert ask(it.port, request("POST", transfer_encoding="chunked") + flood).status == 400
    assert time.perf_counter() - began < 5.0
    eventually(lambda: it.statuses == [400])
    small = chunks(*[b"x" * 40] * 2_000)
    assert ask(it.port, request("POST", transfer_encoding="chunked") + small).status == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_e6_a_post_without_any_length_is_asked_for_it(it: World, version: str) -> None:
    assert ask(it.port, request("POST", version=version)).status == 411


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15)])
def test_compressed_bodies_are_read_and_the_app_sees_only_what_was_meant(
    it: World, encoding: str, wbits: int
) -> None:
    body = json.dumps(list(range(10_000))).encode()
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(body) + packer.flush()
    reply = ask(it.port, request("POST", body=packed, content_encoding=encoding)).json()
    assert (reply["size"], reply["sha"]) == (len(body), sha(body))
    assert "content-encoding" not in reply["headers"]


@pytest.mark.parametrize("size", [CAP, CAP + 1])
def test_e6_the_cap_holds_for_what_a_body_decodes_to(it: World, size: int) -> None:
    packed = gzip.compress(b"a" * size)
    reply = ask(it.port, request("POST", body=packed, content_encoding="gzip"))
    assert reply.status == (200 if size <= CAP else 413)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), 415),
        ("zip", b"PK\3\4", 415),
        ("gzip", b"not gzip", 400),
        ("gzip", gzip.compress(b"x" * 1000, mtime=0)[:-9], 400),
        ("gzip", gzip.compress(b"x", mtime=0) + b"more", 400),
        ("gzip", gzip.compress(b"x", mtime=0) * 2, 400),
        ("deflate", gzip.compress(b"x", mtime=0), 400),
        ("identity", b"x", 200),
        ("gzip", b"", 200),
    ],
)
def test_e6_encodings_that_are_unknown_nested_or_damaged_are_refused(
    it: World, encoding: str, body: bytes, status: int
) -> None:
    assert ask(it.port, request("POST", body=body, content_encoding=encoding)).status == status


def test_e6_encodings_in_two_headers_are_two_encodings(it: World) -> None:
    twice = request("POST", body=b"x", content_encoding="gzip", Content_Encoding="identity")
    assert ask(it.port, twice).status == 415


def bomb(mib: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(2**20)
    return b"".join([*(packer.compress(zeros) for _ in range(mib)), packer.flush()])


@contextmanager
def peak_growth() -> Iterator[list[float]]:
    """MiB by which this process is larger at its largest than at the start, as the only item."""
    start, growth, over = rss_mib(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            growth[0] = max(growth[0], rss_mib() - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield growth
    finally:
        over.set()
        watcher.join()


def test_e6_t17_a_bomb_takes_no_memory(it: World) -> None:
    packed = request("POST", body=bomb(48), content_encoding="gzip")
    with peak_growth() as growth:
        for _ in range(5):
            assert ask(it.port, packed).status == 413
    assert growth[0] <= 16
    eventually(lambda: it.guard.budget.held == 0)


def test_an_open_connection_keeps_no_body_that_nobody_read(it: World) -> None:
    """40 of 16 MiB were 650 MiB, far beyond what bodies may take together."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(it.port)) for _ in range(4)]
        for path, wire in zip(["/nowhere", "/v2/health/live"] * 2, wires, strict=True):
            wire.send(request("POST", path, body=b"x" * CAP))
            assert wire.reply().status in (404, 405)
        eventually(lambda: it.guard.budget.held == 0)
        gc.collect()
        kept = [each for each in gc.get_objects() if isinstance(each, Exchange)]
        assert [each for each in kept if sys.getsizeof(each._body) >= CAP] == []


def test_e6_positive_control_without_the_cap_the_bomb_is_seen_in_memory() -> None:
    room = Limits(max_body_bytes=2**30, max_buffered_bytes=2**30, grace_seconds=0)
    packed = request("POST", body=bomb(48), content_encoding="gzip")
    with world(room) as it, peak_growth() as growth:
        assert ask(it.port, packed).status == 200
    assert growth[0] > 24


def test_bodies_of_all_requests_together_are_bounded(it: World) -> None:
    held = CAP - 1
    with Wire(it.port) as another:
        wires = [Wire(it.port) for _ in range(8)]
        for wire in wires:
            wire.send(request("POST", content_length=str(CAP)) + b"x" * held)
        eventually(lambda: it.guard.budget.held == 8 * held)
        another.send(request("POST", body=b"x" * 1_000))
        reply = another.reply()
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) >= 1
        for wire in wires:
            wire.send(b"x")
            assert wire.reply().status == 200
            wire.socket.close()
    eventually(lambda: it.guard.budget.held == 0)
    assert ask(it.port, request("POST", body=b"x" * 1_000)).status == 200


def many(number: int) -> dict[str, Any]:
    return {f"x_{i}": "v" for i in range(number)}


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (request("GET", "/" + "a" * 2**20), (414,)),
        (request("GET", "/" + "a" * 3_000), (414,)),
        (request("GET", "/echo?" + "a" * 3_000), (414,)),
        (request("GET", **many(10_000)), (431,)),
        (request("GET", **many(60)), (431,)),
        (request("GET", x="v" * 4 * 2**20), (431,)),
        (request("GET", x="v" * 8_192), (431,)),
        (request("GET", x="v\0w"), (400,)),
        (request("GET", x="v\rw"), (400,)),
        (request("GET", x="v\r\n"), (400, 200)),
        (b"GET /echo\r\n\r\n", (400,)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
        (b"GET /echo HTTP/3.0\r\nhost: test\r\n\r\n", (400,)),
        (b"GET /echo HTTP/1.1\r\n\r\n", (400,)),
        (b"GET /echo HTTP/1.1\r\nhost: test\r\nhost: test\r\n\r\n", (400,)),
        (b"GET /ec ho HTTP/1.1\r\nhost: test\r\n\r\n", (400,)),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nhost: test\r\n\r\n", (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
        (b"\r\n\r\n", (400,)),
        (b"\0" * 100, (400,)),
    ],
)
def test_e7_headers_that_are_too_much_or_not_http_are_refused_in_our_words(
    it: World, raw: bytes, statuses: tuple[int, ...]
) -> None:
    reply = ask(it.port, raw)
    assert reply.status in statuses
    if reply.status != 200:
        assert reply.error
        assert len(reply.headers["x-request-id"]) == 32


def test_e7_a_header_without_end_is_cut_and_takes_no_memory(it: World) -> None:
    with peak_growth() as growth, Wire(it.port) as wire:
        wire.send(b"GET /echo HTTP/1.1\r\nhost: test\r\nx: ")
        for _ in range(200):
            wire.offer(b"v" * 2**20)
    assert growth[0] <= 16


@pytest.mark.parametrize("number", [150, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_e7_pipelined_requests_are_answered_in_order(it: World, number: int) -> None:
    with Wire(it.port) as wire:
        sent = b"".join(request("POST", body=b"x" * (i % 200)) for i in range(number))
        sender = threading.Thread(target=wire.send, args=(sent,))
        sender.start()
        sizes = [wire.reply().json()["size"] for _ in range(number)]
        sender.join()
    assert sizes == [i % 200 for i in range(number)]


def test_e7_what_follows_a_good_request_and_is_none_is_refused_after_its_answer(it: World) -> None:
    with Wire(it.port) as wire:
        wire.send(request("GET", "/work/a?ms=20") + b"nonsense\r\n\r\n")
        assert wire.reply().status == 200
        assert wire.reply().status == 400
        assert wire.rest() == b""


def test_e7_an_upgrade_is_not_taken_up(it: World) -> None:
    reply = ask(it.port, request("GET", connection="upgrade", upgrade="websocket"))
    assert reply.status == 200


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ("checkout-42:a.b_C", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a" * 2_000, False),
        ("\x1b[31mred", False),
        ("${jndi:ldap://x/y}", False),
        ("<script>alert(1)</script>", False),
        ("a b", False),
        ("", False),
        ("é", False),
    ],
)
def test_e10_a_request_id_is_echoed_where_it_is_harmless_and_replaced_where_not(
    it: World, offered: str, kept: bool
) -> None:
    for target in ("/echo", "/nowhere"):
        echoed = ask(it.port, request("GET", target, x_request_id=offered)).headers["x-request-id"]
        assert echoed == offered if kept else re.fullmatch("[0-9a-f]{32}", echoed)
        eventually(lambda echoed=echoed: echoed in it.ids)  # type: ignore[misc]


def test_e10_of_two_request_ids_neither_is_believed(it: World) -> None:
    reply = ask(it.port, request("GET", x_request_id="one", X_Request_Id="two"))
    assert reply.headers["x-request-id"] not in ("one", "two")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/echo", 200),
        ("HEAD", "/echo", 200),
        ("GET", "/nowhere", 404),
        ("OPTIONS", "/echo", 405),
        ("OPTIONS", "*", 404),
        ("DELETE", "/big", 405),
        ("TRACE", "/echo", 405),
        ("CONNECT", "test:80", 405),
        ("BREW", "/echo", 405),
        ("get", "/echo", 405),
        ("PRI", "*", 405),
        ("GET", "http://test/echo", 404),
        ("GET", "/v2/health/live", 200),
        ("DELETE", "/v2/health/live", 405),
    ],
)
def test_e13_methods_and_paths(it: World, method: str, target: str, status: int) -> None:
    with Wire(it.port) as wire:
        wire.send(request(method, target))
        reply = wire.reply(bodiless=method == "HEAD")
    assert reply.status == status
    if status == 405:
        assert "GET" in reply.headers["allow"]
    if status >= 400:
        assert reply.error
    assert not any(name.startswith("access-control") for name in reply.headers)


@pytest.mark.parametrize(
    "target",
    [
        "//echo",
        "/./echo",
        "/../echo",
        "/work/../echo",
        "/work/..",
        "/work//a",
        "/%65cho",
        "/echo%2f",
        "/%2e%2e/echo",
        "/work/a%2f..%2f..%2fecho",
        "/echo;a=b",
        "/echo\\",
        "/ECHO",
        "/echo%00",
        "/echo#x",
        "/.hidden",
        "",
    ],
)
def test_g2_a_path_has_one_spelling(it: World, target: str) -> None:
    """G2: no route is reached by another way to write it."""
    reply = ask(it.port, request("GET", target))
    assert reply.status in (400, 404)
    assert reply.error


def test_g2_a_method_in_a_header_is_only_a_header(it: World) -> None:
    sent = request("GET", "/big?bytes=1", x_http_method_override="DELETE")
    assert ask(it.port, sent).status == 200


def test_g3_only_hosts_that_are_allowed_are_answered_for(it: World) -> None:
    for host, status in (
        ("test", 200),
        ("TEST:80", 200),
        ("127.0.0.1:1234", 200),
        ("evil.example", 400),
        ("test@evil.example", 400),
        ("test.evil.example", 400),
        ("", 400),
    ):
        sent = request("GET").replace(b"host: test", b"host: " + host.encode())
        assert ask(it.port, sent).status == status, host


def test_g3_pages_of_other_origins_are_refused_and_ours_are_not(it: World) -> None:
    for origin, status in (
        ("http://test", 200),
        ("https://test", 200),
        ("http://evil.example", 403),
        ("http://test:81", 403),
        ("null", 403),
        ("", 403),
    ):
        assert ask(it.port, request("POST", body=b"{}", origin=origin)).status == status, origin


def test_g3_a_body_is_json_or_bytes_or_says_nothing(it: World) -> None:
    for kind, status in (
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/octet-stream", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
    ):
        assert ask(it.port, request("POST", body=b"{}", content_type=kind)).status == status, kind
    assert ask(it.port, request("POST", body=b"{}")).status == 200
    assert ask(it.port, request("POST", body=b"", content_type="text/plain")).status == 200


SEEDS = (
    request("POST", body=b'{"a": [1, 2]}', content_type="application/json", x_request_id="a"),
    request("POST", transfer_encoding="chunked") + chunks(b"abc", b"defg"),
    request(
        "POST", body=gzip.compress(b"abc", mtime=0), content_encoding="gzip", x_deadline_ms="50"
    ),
    request("GET", "/echo?a=1", accept_encoding="gzip, *;q=0.1", origin="http://test"),
)
SPICE = (
    b"\r\n",
    b"\0",
    b" ",
    b":",
    b"chunked",
    b"content-length: 9\r\n",
    b"\xff",
    b"0" * 50,
    b"%2f",
)


def mutated(dice: random.Random) -> bytes:
    """A good request with a few bytes changed, lost, repeated or put in."""
    data = bytearray(dice.choice(SEEDS))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(data))
        end = at + dice.randint(0, 12)
        data[at:end] = dice.choice(
            (b"", data[at:end] * 2, dice.choice(SPICE), bytes([dice.randrange(256)]))
        )
    return bytes(data)


@pytest.mark.parametrize("number", [150, pytest.param(20_000, marks=pytest.mark.nightly)])
def test_t17_no_damaged_request_is_a_bug_of_ours_or_takes_long(it: World, number: int) -> None:
    dice = random.Random(number)
    it.forget()
    with peak_growth() as growth:
        for _ in range(number):
            with Wire(it.port) as wire:
                sent = mutated(dice)
                wire.offer(sent)
                select.select([wire.socket], [], [], 0.02)
                with contextlib.suppress(OSError):
                    wire.socket.shutdown(socket.SHUT_WR)
                for line in re.findall(rb"HTTP/1.1 ([0-9]+)", wire.rest()):
                    assert int(line) < 500 or int(line) == 504, sent  # a deadline can be cut, too
    assert growth[0] <= 16
    eventually(lambda: not it.server.server_state.connections)
    it.forget()
    assert it.guard.budget.held == 0


@pytest.mark.parametrize("target", ["/bug", "/silent", "/plain/500", "/plain/418", "/plain/599"])
def test_a_failure_of_the_app_is_told_in_our_words_and_tells_nothing(
    it: World, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    reply = ask(it.port, request("GET", target))
    assert reply.status == (500 if target in ("/bug", "/silent") else int(target[-3:]))
    assert not re.search("secret|feature|Traceback|File", reply.error)
    told = capfd.readouterr().err
    assert ("Bug: ZeroDivisionError" in told) == (target == "/bug")
    assert ("in bug" in told) == (target == "/bug")
    assert "feature" not in re.sub(r"raise .*", "", told)
    assert "Exception in ASGI" not in told


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503, 504])
def test_what_a_route_refuses_is_answered_with_its_status(it: World, status: int) -> None:
    reply = ask(it.port, request("GET", f"/refused/{status}"))
    assert reply.status == status
    assert reply.error.startswith("as asked!")
    assert len(reply.error) == 512
    assert ("retry-after" in reply.headers) == (status in (429, 503))
    assert reply.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


def test_an_answer_that_breaks_off_is_cut_and_not_completed(it: World) -> None:
    with Wire(it.port) as wire:
        wire.send(request("GET", "/halfway"))
        told = wire.rest()
    assert b"3\r\none" in told
    assert not told.endswith(b"0\r\n\r\n")


def test_a_503_of_a_route_says_when_to_come_again(it: World) -> None:
    assert ask(it.port, request("GET", "/plain/503")).headers["retry-after"] == "1"


def test_large_answers_of_text_are_compressed_for_those_who_take_it(it: World) -> None:
    def answered(target: str, accepted: str) -> tuple[bool, bytes]:
        reply = ask(it.port, request("GET", target, accept_encoding=accepted))
        packed = reply.headers.get("content-encoding") == "gzip"
        assert packed == (reply.headers.get("vary") == "accept-encoding")
        return packed, gzip.decompress(reply.body) if packed else reply.body

    for accepted, target, packs in (
        ("gzip", "/big?bytes=200000", True),
        ("deflate, GZIP;q=0.5", "/big?bytes=1024", True),
        ("*", "/big?bytes=1024", True),
        ("gzip", "/big?bytes=1023", False),
        ("gzip;q=0", "/big?bytes=200000", False),
        ("gzip;q=x", "/big?bytes=200000", False),
        ("gzip;x=1", "/big?bytes=2000", True),
        ("br", "/big?bytes=200000", False),
        ("", "/big?bytes=200000", False),
        ("gzip", "/big?bytes=200000&type=application/octet-stream", False),
    ):
        packed, body = answered(target, accepted)
        assert packed == packs, (accepted, target)
        assert body == b"x" * len(body)
        assert len(body) == int(re.findall("bytes=([0-9]+)", target)[0])


def test_connections_are_kept_between_requests_and_closed_where_the_client_asks(it: World) -> None:
    with Wire(it.port) as wire:
        for _ in range(3):
            wire.send(request("POST", body=b"abc"))
            assert wire.reply().status == 200
        wire.send(request("GET", connection="close"))
        assert wire.reply().status == 200
        assert wire.rest() == b""


def test_what_is_told_of_a_request_holds_nothing_that_it_said(it: World) -> None:
    """G5, G6: neither path nor query, body, header nor address, in one line of ASCII."""
    it.forget()
    sent = request("POST", "/work/CANARY?ms=1&token=CANARY", b'{"age":"CANARY"}', x="CANARY")
    assert ask(it.port, sent).status == 200
    assert ask(it.port, request("POST", body=b"123")).status == 200
    assert ask(it.port, request("CANARY", "/CANARY")).status == 405
    eventually(lambda: len(it.finished) == 3)
    worked, echoed, refused = it.finished
    assert "CANARY" not in repr(it.finished)
    assert (worked.route, worked.method, worked.status) == ("/work/{label}", "POST", 200)
    assert worked.bytes_in == 16
    assert worked.stages.keys() == {"read", "queue"}
    assert (echoed.candidates, echoed.stages["encode"]) == (3, 0.001)
    assert echoed.bytes_out > 100
    assert 0 < echoed.seconds < 10
    assert (refused.route, refused.method, refused.status) == ("-", "-", 405)
