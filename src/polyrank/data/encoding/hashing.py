"""A keyed 64-bit hash of ids, vectorised, and the same in every process and on every machine.

Without the key nobody can prepare ids that collide; it is no cryptographic hash. Shapes: N ids.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.encoding.ids import binary_values, is_int
from polyrank.data.hashing import mix

_LONG = 128
"""Bytes from which on a string is hashed one at a time (so one huge string costs no rounds)."""


def derive_key(*parts: int | str) -> int:
    """A 64-bit key from a seed and names; other parts give an independent key."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return _digest(text.encode())


def hash_ints(values_N: NDArray[np.int64], key: int) -> NDArray[np.uint64]:
    """The hash of int64 values; without collisions."""
    word = np.uint64(key)
    return mix(mix(values_N.view(np.uint64) ^ word) ^ word)


def hash_ids(ids: pa.Array, key: int) -> NDArray[np.uint64]:
    """The hash of an int64 or large_binary array without nulls."""
    if is_int(ids):
        return hash_ints(ids.to_numpy(), key)
    return _hash_binary(ids, key)


def _hash_binary(ids: pa.Array, key: int) -> NDArray[np.uint64]:
    content, offsets = binary_values(ids)
    starts, lengths = offsets[:-1], np.diff(offsets)
    state = mix(lengths.astype(np.uint64) ^ np.uint64(key))
    words = _words(content)
    short = lengths <= _LONG
    active = np.flatnonzero((lengths > 0) & short)
    done = 0
    while active.size:
        rest = lengths[active] - done
        state[active] = mix(state[active] ^ _word_at(words, starts[active] + done, rest))
        done += 8
        active = active[rest > 8]
    for place in np.flatnonzero(~short):
        text = content[starts[place] : starts[place] + lengths[place]]
        state[place] ^= np.uint64(_digest(text.tobytes()))
    return mix(state ^ np.uint64(key))


def _digest(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _words(content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The bytes as little-endian words, with at least one word of zeros behind them."""
    padded = np.zeros((len(content) + 23) // 8 * 8, dtype=np.uint8)
    padded[: len(content)] = content
    return padded.view("<u8").astype(np.uint64, copy=False)


def _word_at(
    words: NDArray[np.uint64], starts: NDArray[np.int64], rest: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """The 8 bytes that begin at each byte position, zeroed beyond ``rest`` bytes."""
    shift = (starts.astype(np.uint64) & np.uint64(7)) * np.uint64(8)
    at = starts >> 3
    low = words[at] >> shift
    high = (words[at + 1] << np.uint64(1)) << (np.uint64(63) - shift)
    kept = np.uint64(8) * np.minimum(rest, 8).astype(np.uint64)
    word: NDArray[np.uint64] = low | high
    return word & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - kept))
