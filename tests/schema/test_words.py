"""What names tell, and what values tell beside them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polyrank.schema.guessing import vocabulary, words
from polyrank.schema.guessing.dependency import MAX_SHARE, MIN_EXPECTED, constancy
from polyrank.schema.guessing.names import check_name, name_for


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("user_id", "user id"),
        ("userId", "user id"),
        ("UserID", "user id"),
        ("userid", "user id"),
        ("uid", "u id"),
        ("playTime_ms", "play time ms"),
        ("playtime", "play time"),
        ("clicks_7d", "clicks 7 d"),
        ("time-spent", "time spent"),
        ("timespent", "time spent"),
        ("paid", "paid"),
        ("HTTPStatus", "httpstatus"),
        ("喜欢 like", "喜欢 like"),
        ("__", ""),
        ("", ""),
    ],
)
def test_words(name: str, expected: str) -> None:
    assert " ".join(words.words(name)) == expected


def test_the_kinds_of_words_do_not_contradict_each_other() -> None:
    assert not vocabulary.GOOD & vocabulary.BAD
    assert not vocabulary.MEASURED & vocabulary.CODED
    assert not vocabulary.USER_TRAITS & vocabulary.ITEM_TRAITS
    assert not set(vocabulary.USER) & set(vocabulary.ITEM)
    assert not set(vocabulary.ITEM) & set(vocabulary.REQUEST)
    assert not vocabulary.HISTORY & (vocabulary.GOOD | vocabulary.BAD)


QUESTIONS = [
    words.is_id,
    words.tells_history,
    words.response,
    words.is_flag,
    words.is_action,
    words.is_act,
    words.tells_amount,
    words.is_time_spent,
    words.unit,
    words.is_share_seen,
    words.is_rating,
    words.masked_by,
    words.tells_clock,
    words.is_event_clock,
    words.is_position,
    words.is_propensity,
    words.is_weight,
    words.is_sequence,
    words.is_measured,
    words.owner,
    words.trait,
]


@given(st.text())
def test_every_name_gets_an_answer(name: str) -> None:
    for question in QUESTIONS:
        question(name)


@given(st.text(st.sampled_from("abd_ .7"), max_size=9) | st.sampled_from(["is_like", "play time"]))
def test_upper_case_means_nothing(name: str) -> None:
    assert words.words(name.upper()) == words.words(name)


@given(st.text(), st.lists(st.text(max_size=130), max_size=4))
def test_a_derived_name_can_be_addressed_and_is_free(column: str, taken: list[str]) -> None:
    name = name_for(column, taken)
    check_name(name, "feature")
    assert name not in taken
    assert name_for(name) == name


codes = arrays(np.int64, st.integers(0, 60), elements=st.integers(-1, 5))


def slow(codes_B: npt.NDArray[np.int64], groups_B: npt.NDArray[np.int64]) -> str:
    """Row by row, as the docstring says."""
    rows = [(c, g) for c, g in zip(codes_B.tolist(), groups_B.tolist(), strict=True) if g >= 0]
    first: dict[int, int] = {}
    later, differences = 0, 0
    for code, group in rows:
        if group in first:
            later += 1
            differences += code != first[group]
        else:
            first[group] = code
    shares = [sum(c == d for d, _ in rows) / len(rows) for c in {c for c, _ in rows}]
    expected = later * (1 - sum(share**2 for share in shares))
    if later == 0 or expected < MIN_EXPECTED:
        return "unknown"
    return "constant" if differences <= MAX_SHARE * expected else "varies"


@given(st.data())
def test_constancy_is_what_it_says(data: st.DataObject) -> None:
    codes_B = data.draw(codes)
    groups = arrays(np.int64, len(codes_B), elements=st.integers(-1, 4))
    groups_B = data.draw(groups | st.just(codes_B // 2))
    assert constancy(codes_B, groups_B) == slow(codes_B, groups_B)


def test_constancy_by_hand() -> None:
    groups_B = np.repeat(np.arange(50), 4)
    assert constancy(groups_B % 2, groups_B) == "constant"
    assert constancy(np.arange(200) % 3, groups_B) == "varies"
    # A rare label is equal in nearly all rows, of whatever user: that shows nothing.
    rare = np.zeros(200, dtype=np.int64)
    rare[[3, 77]] = 1
    assert constancy(rare, groups_B) == "unknown"
    assert constancy(np.arange(200) % 3, np.arange(200)) == "unknown"
    assert constancy(groups_B[:0], groups_B[:0]) == "unknown"
