"""What the name of a column tells."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

from polyrank.schema.guessing import vocabulary as v


def words(name: str) -> tuple[str, ...]:
    """The words of ``name``, in lower case: ``playTime_ms`` is play, time, ms."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    pieces = re.findall(r"[^\W\d_]+|\d+", parted)
    return tuple(word for piece in pieces for word in _split(piece))


def _split(piece: str) -> tuple[str, ...]:
    """``userid`` is user, id."""
    if piece == "timespent":
        return "time", "spent"
    for tail in v.TAILS:
        head = piece.removesuffix(tail)
        if head != piece and head in v.HEADS:
            return head, tail
    return (piece,)


def key_rank(name: str, nouns: tuple[str, ...]) -> int | None:
    """How well ``name`` names the key of ``nouns``; the least is best, None is not at all."""
    said = words(name)
    rest = [word for word in said if word not in v.FILLERS]
    if len(rest) != 1 or rest[0] not in nouns:
        return None
    if v.ID_MARKS & set(said):
        return nouns.index(rest[0])
    return len(nouns) + nouns.index(rest[0]) if rest[0] in v.BARE else None


def is_id(name: str) -> bool:
    """Whether ``name`` says that its values identify something."""
    return bool((v.ID_MARKS - {"no"}) & set(words(name)))


def tells_history(name: str) -> bool:
    """Whether ``name`` sums up what came before: a count, a rate, the last seven days."""
    said = words(name)
    window = any(a.isdigit() and b in {"d", "h", "w", "m", "day"} for a, b in pairwise(said))
    return window or bool(v.HISTORY & set(said))


def response(name: str) -> Literal["good", "bad"] | None:
    """The sign of the user's response that ``name`` tells of, if it does."""
    said = set(words(name))
    if tells_history(name):
        return None
    if v.BAD & said or {"not", "interested"} <= said or {"thumbs", "down"} <= said:
        return "bad"
    is_generic = said == {"y"} or (bool(v.GENERIC & said) and len(said) <= 2)
    if v.GOOD & said or {"thumbs", "up"} <= said or is_generic:
        return "good"
    return None


def is_flag(name: str) -> bool:
    """Whether ``name`` is an ``is_...`` that does not tell of user, item or setting."""
    said = words(name)
    nouns = {noun for noun in (*v.USER, *v.ITEM) if len(noun) > 1}
    return len(said) > 1 and said[0] == "is" and not (v.FLAGS | nouns) & set(said[1:])


def is_action(name: str) -> bool:
    """Whether ``name`` is the kind of a response: ``behavior_type``."""
    return bool(v.ACTIONS & set(words(name)))


def is_act(value: str) -> bool:
    """Whether ``value`` is one response among others: ``buy``, ``pv``."""
    said = set(words(value))
    return bool(said) and said <= v.GOOD | v.BAD | v.ACTS


def tells_amount(name: str) -> bool:
    """Whether ``name`` is money that a response brought."""
    return bool(v.AMOUNTS & set(words(name))) and not tells_history(name)


def is_time_spent(name: str) -> bool:
    """Whether ``name`` is a time that the user spent: ``play_time_ms``, ``dwell``."""
    said = words(name)
    if tells_history(name) or not v.SPENT & set(said):
        return False
    return bool(v.MEASURE & set(said)) or said[-1] in v.UNITS or "dwell" in said


def unit(name: str) -> Literal["ms", "s", "min"] | None:
    """The unit that ends ``name``."""
    said = words(name)
    return v.UNITS.get(said[-1]) if said else None


def is_share_seen(name: str) -> bool:
    """Whether ``name`` is the part of an item that was watched or read: ``watch_ratio``."""
    said = words(name)
    return len(said) == 2 and said[1] in v.SHARE and said[0] in v.SPENT | {"completion", "finish"}


def is_rating(name: str) -> bool:
    """Whether ``name`` is a grade that the user gave."""
    said = set(words(name))
    return bool(v.RATING & said) and not v.SUMMARY & said


def masked_by(name: str) -> frozenset[str] | None:
    """The words of the label that ``name`` says is observed; None where it is no mask."""
    said = frozenset(words(name))
    return said - v.MASK - {"is", "label"} if v.MASK & said else None


def tells_clock(name: str) -> bool:
    """Whether ``name`` is a moment."""
    return bool(v.CLOCK & set(words(name)))


def is_event_clock(name: str) -> bool:
    """Whether ``name`` may be the moment of the row, not one of its user's or item's past."""
    return not set(words(name)) & (v.PAST_EVENT | v.GOOD | v.BAD)


def is_position(name: str) -> bool:
    """Whether ``name`` is the place in the shown list."""
    said = set(words(name))
    return bool(v.POSITION & said) and said <= v.POSITION | v.POSITION_BESIDE


def is_propensity(name: str) -> bool:
    """Whether ``name`` is the probability with which the row was shown."""
    said = set(words(name))
    return bool(v.PROPENSITY & said or (v.PROBABILITY & said and v.POLICY & said))


def is_weight(name: str) -> bool:
    """Whether ``name`` is the weight of a row."""
    said = words(name)
    return said[-1:] != () and said[-1] in v.WEIGHT and set(said[:-1]) <= v.WEIGHT_BESIDE


def is_sequence(name: str) -> bool:
    """Whether ``name`` is an ordered past."""
    return bool(v.SEQUENCE & set(words(name)))


def is_measured(name: str) -> bool | None:
    """Whether whole numbers under ``name`` are amounts (True), codes (False), or it does not say.

    The last word that says so decides (``age_group`` is a code), but a wage per hour is an amount.
    """
    said = words(name)
    if "per" in said:
        return True
    for word in reversed(said):
        if word in v.MEASURED:
            return True
        if word in v.CODED:
            return False
    return None


def owner(name: str) -> Literal["user", "item"] | None:
    """Whose column it is, by its first word."""
    first, *rest = words(name) or ("",)
    if not rest or len(first) == 1:
        return None
    if first in v.USER and first not in v.SETTING:
        return "user"
    return "item" if first in v.ITEM else None


def trait(name: str) -> Literal["user", "item", "context"] | None:
    """Whose column it probably is, by any of its words."""
    said = set(words(name))
    if said & v.SETTING:
        return "context"
    if said & v.USER_TRAITS:
        return "user"
    return "item" if said & v.ITEM_TRAITS else None
