from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyrank.data.ledger import Counts, LabelCount, Ledger

NUMBERS = st.integers(0, 10**9)
REASONS = st.dictionaries(st.sampled_from(["duplicate", "gap", "other"]), st.integers(1, 99))
LABELS = st.builds(
    LabelCount,
    observed=NUMBERS,
    low=st.none() | st.floats(-9, 9),
    high=st.none() | st.floats(-9, 9),
)


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    used, masked, quarantined = draw(NUMBERS), draw(NUMBERS), draw(NUMBERS)
    filtered = draw(REASONS)
    return Counts(
        read=used + masked + quarantined + sum(filtered.values()),
        used=used,
        masked=masked,
        quarantined=quarantined,
        filtered=filtered,
        noted=draw(REASONS),
        labels=draw(st.dictionaries(st.sampled_from(["click", "like"]), LABELS)),
    )


LEDGERS = st.dictionaries(st.sampled_from(["train", "validation", "test"]), counts()).map(Ledger)


@given(LEDGERS)
def test_every_row_has_one_fate_in_every_part(ledger: Ledger) -> None:
    ledger.check()
    filtered = sum(ledger.filtered.values())
    assert ledger.read == sum(counts.read for counts in ledger.parts.values())
    assert ledger.read == ledger.used + ledger.masked + ledger.quarantined + filtered


@given(LEDGERS)
def test_a_ledger_comes_back_from_json(ledger: Ledger) -> None:
    again = Ledger.from_dict(json.loads(json.dumps(ledger.to_dict())))
    assert again.parts == ledger.parts


@given(st.lists(st.floats(-9, 9), max_size=5), st.lists(st.floats(-9, 9), max_size=5))
def test_a_labels_range_is_that_of_all(one: list[float], other: list[float]) -> None:
    total = count(one)
    total.add(count(other))
    assert total == count(one + other)


def count(values: list[float]) -> LabelCount:
    if not values:
        return LabelCount()
    return LabelCount(observed=len(values), low=min(values), high=max(values))


def test_a_row_that_is_told_twice_or_not_at_all_shows() -> None:
    for wrong in (Counts(read=3, used=2), Counts(read=3, used=3, masked=1)):
        with pytest.raises(AssertionError, match="the row ledger is off"):
            Ledger().record("train", wrong)


def test_a_part_read_again_replaces_its_counts() -> None:
    ledger = Ledger()
    ledger.record("train", Counts(read=5, used=5))
    ledger.record("train", Counts(read=5, used=4, masked=1))
    assert (ledger.read, ledger.used, ledger.masked) == (5, 4, 1)


def test_the_summary_is_a_table() -> None:
    ledger = Ledger()
    train = Counts(read=1_234_567, used=1_234_500, masked=7, quarantined=10)
    train.drop("duplicate", 50)
    train.note("no row in table 'users'", 3)
    ledger.record("train", train)
    ledger.record("test", Counts(read=2, used=2))
    assert ledger.summary().splitlines() == [
        "rows                           train  test",
        "read                       1,234,567     2",
        "used                       1,234,500     2",
        "masked                             7     0",
        "quarantined                       10     0",
        "filtered: duplicate               50     0",
        "(no row in table 'users')          3     0",
    ]


def test_nothing_is_counted_as_none() -> None:
    counts = Counts()
    counts.drop("duplicate", 0)
    counts.note("nothing", 0)
    assert counts == Counts()
