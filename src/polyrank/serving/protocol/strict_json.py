"""JSON without surprises: what orjson reads, less what it takes in silence.

orjson keeps the last of two equal names, makes a float of an integer beyond 64 bits and writes NaN
as ``null``. Each is found at the speed of C: names by counting colons outside strings, integers by
looking at floats only, NaN by looking for ``null``.
"""

from __future__ import annotations

import json
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import orjson

from polyrank.serving.errors import RequestError

MAX_DEPTH = 32
"""Arrays and objects within each other."""
MAX_VALUES = 1_000_000
"""Values in one document: a byte of JSON may take 30 bytes of memory."""
MAX_EXPLAINED = 1 << 20
"""Bytes of a document that is read a second time, slowly, to name what is wrong with it."""
BLOCK = 1 << 18
"""Bytes that are looked at together, so that what is found takes little memory."""
MAX_SHOWN = 64
"""Characters of a client's own words that a message repeats."""
OPTIONS = (
    orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)


def loads(body: bytes, *, what: str = "the body", max_values: int = MAX_VALUES) -> Any:
    """The value that ``body`` holds: UTF-8 JSON (RFC 8259), read without guessing.

    Args:
        body: The whole document.
        what: What messages call it.
        max_values: Values, arrays and objects that it may hold.

    Returns:
        dict, list, str, int (-2^63 to 2^64 - 1), finite float, bool or None.

    Raises:
        RequestError: 400 for anything else than one document of strict JSON: a syntax error, a byte
            order mark, other encodings, lone surrogates, NaN or infinities, an integer beyond 64
            bits, a name twice in one object, more than ``MAX_DEPTH`` levels. 413 for more than
            ``max_values`` values.

    >>> loads(b'{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> loads(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    polyrank.serving.errors.RequestError: the body: an object has the name 'a' twice
    """
    if len(body) > max_values and sum(map(body.count, (b",", b"[", b"{"))) > max_values:
        raise RequestError(413, f"{what}: more than {max_values:,} values")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"{what} is not JSON: {error}") from None
    pairs, beyond = _survey(document, what)
    if _says_twice(body, pairs):
        _refuse_twice(body, what)
    if beyond:
        _refuse_long(body, what)
    return document


def _survey(document: object, what: str) -> tuple[int, bool]:
    """Names in all objects; whether a float may be what orjson made of an integer."""
    level: list[Any] = [document]
    pairs, beyond = 0, False
    for _ in range(MAX_DEPTH + 1):
        kinds = set(map(type, level))
        if float in kinds and not beyond:
            plain = kinds <= {float, int}
            beyond = _beyond(level if plain else [x for x in level if type(x) is float])
        if kinds.isdisjoint((dict, list)):
            return pairs, beyond
        objects = [x for x in level if type(x) is dict] if dict in kinds else []
        arrays = [x for x in level if type(x) is list] if list in kinds else []
        pairs += sum(map(len, objects))
        level = list(chain.from_iterable(chain(arrays, map(dict.values, objects))))
    raise RequestError(400, f"{what}: nested deeper than {MAX_DEPTH} levels")


def _beyond(numbers: list[float]) -> bool:
    return max(numbers) >= float(2**64) or min(numbers) <= float(-(2**63))


def _says_twice(body: bytes, pairs: int) -> bool:
    """Whether ``body``, which is JSON, has more names than the ``pairs`` that were kept.

    A name's colon follows a quote or white space, so the colons that do are at least the names; in
    most documents they are exactly these. Else those outside strings are counted.
    """
    if body.count(b":") == pairs or _colons_after_quotes(body) == pairs:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return _colons_outside_strings(body) != pairs


def _colons_after_quotes(body: bytes) -> int:
    """Colons after a quote, white space or an exclamation mark: those of names, and some more."""
    count = 0
    for start in range(0, len(body), BLOCK):
        letters = np.frombuffer(memoryview(body)[start : start + BLOCK + 1], dtype=np.uint8)
        near = (letters[1:] == ord(":")) & (letters[:-1] <= ord('"'))
        count += int(np.count_nonzero(near))
    return count


def _colons_outside_strings(body: bytes) -> int:
    """One for each name of JSON without escaped quotes."""
    count, in_string = 0, 0
    for start in range(0, len(body), BLOCK):
        letters = np.frombuffer(memoryview(body)[start : start + BLOCK], dtype=np.uint8)
        quotes = np.flatnonzero(letters == ord('"'))
        colons = np.flatnonzero(letters == ord(":"))
        before = np.searchsorted(quotes, colons) + in_string
        count += int(np.count_nonzero(before % 2 == 0))
        in_string = (in_string + len(quotes)) % 2
    return count


def _refuse_twice(body: bytes, what: str) -> NoReturn:
    if len(body) <= MAX_EXPLAINED:
        json.loads(body, object_pairs_hook=lambda pairs: _unique(pairs, what))
    raise RequestError(400, f"{what}: an object has a name twice")


def _unique(pairs: list[tuple[str, object]], what: str) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise RequestError(400, f"{what}: an object has the name {shown(name)} twice")
        names.add(name)


def _refuse_long(body: bytes, what: str) -> None:
    def whole(digits: str) -> None:
        if not -(2**63) <= int(digits) < 2**64:
            raise RequestError(
                400,
                f"{what}: an integer of {len(digits.lstrip('-'))} digits does not fit 64 bits;"
                " send it as a string",
            )

    json.loads(body, parse_int=whole)


def shown(text: str) -> str:
    """A client's own word for a message: quoted, and cut at ``MAX_SHOWN`` characters."""
    return repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "...")


def dumps(document: object, *, place: str = "") -> bytes:
    """UTF-8 JSON of ``document``; floats, float32 included, read back as the same numbers.

    Args:
        document: dict with str names, list, tuple, str, int, float, bool, None, and contiguous
            numpy arrays and scalars of numbers.
        place: Of the document in the answer, for messages.

    Raises:
        RequestError: 500 where a number is not finite, naming the place: JSON has no word for it.
        TypeError: For any other type; our own mistake.

    >>> dumps({"score": [0.5, None]})
    b'{"score":[0.5,null]}'
    >>> dumps({"score": [0.5, float("nan")]})
    Traceback (most recent call last):
    polyrank.serving.errors.RequestError: the answer at score[1] is not a finite number
    """
    text = orjson.dumps(document, option=OPTIONS)
    if b"n" in text and b"null" in text:  # one letter is looked for 20 times as fast as four
        _refuse_not_finite(document, place)
    return text


def _refuse_not_finite(value: object, place: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_not_finite(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_not_finite(inner, f"{place}[{index}]")
    elif isinstance(value, np.ndarray):
        _refuse_not_finite(value.tolist(), place)
    elif isinstance(value, float | np.floating) and not np.isfinite(value):
        raise RequestError(500, f"the answer at {place or 'its top'} is not a finite number")
