"""Who is in a sample today is in it tomorrow: these places were worked out with hashlib alone."""

from __future__ import annotations

from functools import partial

import pytest

from polyrank.serving.sampling import is_sampled

IDS = [f"request-{number}" for number in range(400)]
logged = partial(is_sampled, person=b"prediction-log")


def test_the_samples_are_those_of_every_release() -> None:
    first = range(40)
    in_log = [n for n in first if logged(f"request-{n}".encode(), 0.25)]
    assert in_log == [0, 3, 5, 6, 7, 16, 24, 26, 29, 30, 32, 39]
    shadowed = [n for n in first if is_sampled(f"sha256:0123\nrequest-{n}".encode(), 0.25)]
    assert shadowed == [0, 4, 6, 10, 14, 16, 22, 28, 29, 30, 32, 33, 35, 37, 39]


@pytest.mark.parametrize(
    ("name", "person", "place"),
    [
        ("request-é".encode(), b"prediction-log", 0.34630761063021914),
        (b"1\n\xed\xa0\x80", b"", 0.012369746393339986),
    ],
)
def test_a_share_ends_at_the_place_of_a_request(name: bytes, person: bytes, place: float) -> None:
    assert not is_sampled(name, place - 1e-12, person=person)
    assert is_sampled(name, place + 1e-12, person=person)


def test_shares_are_held_and_lie_within_each_other() -> None:
    names = [each.encode() for each in IDS]
    few = {each for each in names if is_sampled(each, 0.1)}
    assert 0.05 < len(few) / len(IDS) < 0.15
    assert few < {each for each in names if is_sampled(each, 0.3)}
    assert few != {each for each in names if logged(each, 0.1)}
    assert all(is_sampled(each, 1.0) for each in names)
    assert not any(is_sampled(each, 0.0) for each in names)
