"""Compressed bodies, both ways, a piece at a time: a bomb is defused by counting."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator

from polyrank.serving.errors import RequestError

PIECE = 64 * 1024
"""Bytes handled before other requests get their turn: about a millisecond."""
FASTEST = 1
_FOLLOWS = "bytes follow the end of the compressed body"
_WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


def decoder_of(encoding: bytes) -> zlib._Decompress | None:
    """What undoes a Content-Encoding; none where there is nothing to undo.

    Raises:
        RequestError: 415 of an encoding that is not gzip or deflate, or of several.
    """
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return None
    if name not in _WINDOW_BITS:
        raise RequestError(415, "Content-Encoding must be gzip, deflate or identity, and only one")
    return zlib.decompressobj(wbits=_WINDOW_BITS[name])


async def decoded(
    body: bytes, decoder: zlib._Decompress, limit: int, hold: Callable[[int], None]
) -> bytes:
    """The bytes that were compressed.

    Args:
        body: As sent, whole.
        decoder: Of ``decoder_of``, unused.
        limit: Bytes it may have when decoded.
        hold: Told of each piece's size before the next is made; may raise.

    Raises:
        RequestError: 413 above ``limit``, 400 where the body is damaged, cut, or not all of it.
    """
    plain = bytearray()
    for piece in _pieces(body, decoder):
        hold(len(piece))
        plain += piece
        if len(plain) > limit:
            raise RequestError(413, f"the body has more than {limit} bytes when decoded")
        await asyncio.sleep(0)
    return bytes(plain)


def _pieces(body: bytes, decoder: zlib._Decompress) -> Iterator[bytes]:
    for start in range(0, len(body), PIECE):
        rest = body[start : start + PIECE]
        while rest:
            if decoder.eof:
                raise RequestError(400, _FOLLOWS)
            yield _next_piece(decoder, rest)
            rest = decoder.unused_data or decoder.unconsumed_tail
    while not decoder.eof:
        piece = _next_piece(decoder, b"")
        if not piece:
            raise RequestError(400, "the compressed body is cut short")
        yield piece


def _next_piece(decoder: zlib._Decompress, rest: bytes) -> bytes:
    try:
        return decoder.decompress(rest, PIECE)
    except zlib.error:
        raise RequestError(400, "the body is not what its Content-Encoding says") from None


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether a client takes gzip.

    >>> [accepts_gzip(value) for value in (b"br, gzip;q=0.5", b"gzip;q=0", b"deflate", b"*")]
    [True, False, False, True]
    """
    weights = dict(_weighted(choice) for choice in accept_encoding.lower().split(b","))
    return weights.get(b"gzip", weights.get(b"*", 0.0)) > 0.0


def _weighted(choice: bytes) -> tuple[bytes, float]:
    name, _, parameter = choice.partition(b";")
    key, _, value = parameter.strip().partition(b"=")
    if key.strip() != b"q":
        return name.strip(), 1.0
    try:
        return name.strip(), float(value)
    except ValueError:
        return name.strip(), 0.0


async def gzipped(body: bytes) -> bytes:
    """``body`` compressed, fast rather than small; other requests get their turn meanwhile."""
    packer = zlib.compressobj(FASTEST, wbits=31)
    packed = bytearray()
    for start in range(0, len(body), PIECE):
        packed += packer.compress(body[start : start + PIECE])
        await asyncio.sleep(0)
    return bytes(packed + packer.flush())
