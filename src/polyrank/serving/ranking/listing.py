"""The candidates of an answer as JSON, a column at a time: a dictionary each would cost thrice as
much.

>>> import numpy as np
>>> listing([7, "a"], np.array([1, 0]), np.array([0.5, 0.25]), {"predictions": {}})
b'[{"id":7,"index":1,"score":0.5,"predictions":{}},{"id":"a","index":0,"score":0.25,\
"predictions":{}}]'

Shapes: K candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyrank.serving.protocol import dumps
from polyrank.serving.ranking.ask import Id

Named = Mapping[str, NDArray[np.float64]]


def listing(
    ids: Sequence[Id],
    place_K: NDArray[np.int64],
    score_K: NDArray[np.float64],
    groups: Mapping[str, Named],
) -> bytes:
    """A list of one object a candidate.

    Args:
        ids: (K,)
        place_K: Where each stood in the request.
        score_K: Numbers.
        groups: By field an object of numbers, (K,) each.

    Raises:
        RequestError: 500 where a number is not finite, naming its column and its place there.
    """
    if not len(ids):
        return b"[]"
    columns = [
        (b'},{"id":', _texts(ids)),
        (b',"index":', _numbers(place_K, "index")),
        (b',"score":', _numbers(score_K, "score")),
    ]
    ended = b""
    for field, named in groups.items():
        opening = ended + b"," + dumps(field) + b":{"
        for name, value_K in named.items():
            columns.append((opening + dumps(name) + b":", _numbers(value_K, f"{field}.{name}")))
            opening = b","
        ended = b"}" if named else opening + b"}"
    columns[0] = (ended + columns[0][0], columns[0][1])
    pieces = _woven(columns, len(ids))
    pieces[0] = b'[{"id":'
    pieces.append(ended + b"}]")
    return b"".join(pieces)


def _woven(columns: Sequence[tuple[bytes, list[bytes]]], count: int) -> list[bytes]:
    """Candidate by candidate, each value behind its name."""
    pieces = [piece for name, _ in columns for piece in (name, b"")] * count
    for at, (_, values) in enumerate(columns):
        pieces[2 * at + 1 :: 2 * len(columns)] = values
    return pieces


def _texts(ids: Sequence[Id]) -> list[bytes]:
    if str in set(map(type, ids)):  # which may hold commas
        return [dumps(each) for each in ids]
    return _parts(dumps(list(ids)))


def _numbers(value_K: NDArray[Any], column: str) -> list[bytes]:
    return _parts(dumps(np.ascontiguousarray(value_K), place=f"candidates.{column}"))


def _parts(numbers: bytes) -> list[bytes]:
    """Of a list of numbers, at least one."""
    return numbers[1:-1].split(b",")
