"""Which requests belong to a sample.

>>> names = [f"request-{number}".encode() for number in range(4000)]
>>> sum(is_sampled(name, 0.25, person=b"prediction-log") for name in names)
984
"""

from __future__ import annotations

import hashlib


def is_sampled(name: bytes, share: float, *, person: bytes = b"") -> bool:
    """Whether a request belongs to a sample: the same answer at every time, on every machine.

    Args:
        name: Of the request. Samples by one name and person lie within each other: a greater share
            holds all that a smaller one holds.
        share: Of all requests, 0 to 1.
        person: At most 16 bytes; samples by different ones know nothing of each other (BLAKE2's
            personalization, RFC 7693's parameter block).
    """
    digest = hashlib.blake2b(name, digest_size=8, person=person).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64
