"""The log a feed writes: its columns, and tables of them.

=================== ====================== =====================================================
column              type                   meaning
=================== ====================== =====================================================
user_id, item_id    int64                  arbitrary distinct ids below 2**62, mostly above 2**53
request_id          int64                  one ranked list; its rows stand together
time_ms             int64                  UTC milliseconds since 1970; never decreases
position            int32                  from 1, in rows as shown
propensity          float64                probability with which the logging policy put this item
                                           here given the items above it (Plackett-Luce)
surface             string                 where the list was shown: home, discover, related
hour                int32                  0 to 23, UTC
user_country        string
user_age_bucket     string
user_activity       float32                log-normal; null for some users
user_history        list<int64>            item ids watched before the log; order means nothing
item_author         int64
item_category       string
item_tags           list<string>           none to four
item_length_s       float32                seconds, 3 to 3,600
item_age_days       float32                age when the log starts
item_embedding      fixed list<float32>    noisy view of the item's truth
click               int8, 0 or 1           every row
long_view           int8, null = no click  watched long for a video of this length
purchase            int8, null = no click  only after a long view
like, report        int8, 0 or 1           0 without click; a report is bad
purchase_time_ms    int64, null = no       only with ``purchase_delay_days``: UTC milliseconds
                    purchase so far
watch_time_s        float32, null = no     seconds; videos loop, so it may exceed the length; at
                    click                  most a day
truth_*             float32                not observed: for tests only, over **all** rows
=================== ====================== =====================================================

Truth columns: ``relevance`` and ``appeal`` (standard deviations, see ``FeedConfig``),
``clickbait``, ``examination`` (probability at this position), ``satisfaction`` (probability that a
viewer is satisfied), ``click_probability`` given examination, ``long_view_``, ``purchase_``,
``like_`` and ``report_probability`` given a click, ``watch_time_s`` expected given a click. With
``purchase_delay_days``: ``purchase``, 1 where a click would end in a purchase, be it after the cut,
and ``purchase_delay_d``, how many days after it.

U users, N items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyrank.simulation.requests import SURFACES, Requests
from polyrank.simulation.streams import distinct_ids

TRUTH_PREFIX = "truth_"
"""What the names of all columns begin with that no real log has."""

PURCHASE_TIME = "purchase_time_ms"
LATE_TRUTH = (TRUTH_PREFIX + "purchase", TRUTH_PREFIX + "purchase_delay_d")
"""Of logs with delayed purchases."""

Rows = dict[str, npt.NDArray[np.generic]]
"""Columns of impressions before they become Arrow: equal lengths, users and items by index."""

_KEYS = ("user_id", "item_id", "request_id", "time_ms", "position", "propensity", "surface", "hour")
_USER_FEATURES = ("user_country", "user_age_bucket", "user_activity", "user_history")
_ITEM_FEATURES = (
    "item_author",
    "item_category",
    "item_tags",
    "item_length_s",
    "item_age_days",
    "item_embedding",
)
_LABELS = ("click", "long_view", "purchase", "like", "report", "watch_time_s")
_NULL_WITHOUT_CLICK = ("long_view", "purchase", "watch_time_s")
_TRUTH = (
    "relevance",
    "appeal",
    "clickbait",
    "examination",
    "satisfaction",
    "click_probability",
    "long_view_probability",
    "purchase_probability",
    "like_probability",
    "report_probability",
    "watch_time_s",
)


def log_schema(embedding_dim: int, *, late: bool = False) -> pa.Schema:
    """Names, order and types of the log's columns; ``late``: with those of delayed purchases."""
    text, tiny, real = pa.string(), pa.int8(), pa.float32()
    types = {
        **dict.fromkeys(("user_id", "item_id", "request_id", "time_ms"), pa.int64()),
        **dict.fromkeys(("position", "hour"), pa.int32()),
        "propensity": pa.float64(),
        "surface": text,
        "user_country": text,
        "user_age_bucket": text,
        "user_activity": real,
        "user_history": pa.list_(pa.int64()),
        "item_author": pa.int64(),
        "item_category": text,
        "item_tags": pa.list_(text),
        "item_length_s": real,
        "item_age_days": real,
        "item_embedding": pa.list_(real, embedding_dim),
        **dict.fromkeys(_LABELS, tiny),
        "watch_time_s": real,
        **{TRUTH_PREFIX + name: real for name in _TRUTH},
    }
    truth = tuple(TRUTH_PREFIX + name for name in _TRUTH)
    names = (*_KEYS, *_USER_FEATURES, *_ITEM_FEATURES, *_LABELS, *truth)
    if late:
        types |= {PURCHASE_TIME: pa.int64(), **dict.fromkeys(LATE_TRUTH, real)}
        names = (*names[: -len(truth)], PURCHASE_TIME, *truth, *LATE_TRUTH)
    return pa.schema([(name, types[name]) for name in names])


def log_table(
    rows: Rows, users: pa.Table, items: pa.Table, schema: pa.Schema, salt: int
) -> pa.Table:
    """``rows`` with the features of their users and items, in the types of ``schema``.

    Args:
        rows: ``user`` and ``item`` (row numbers of the side tables), ``request`` (its number),
            ``surface`` (index), and the remaining columns by their names.
        users: Key and features of all users.
        items: Key and features of all items.
        schema: From ``log_schema``.
        salt: Sets the ids of requests.
    """
    is_click = rows["click"].astype(np.bool_)
    joined = {
        **_take(users, rows["user"]),
        **_take(items, rows["item"]),
        "request_id": distinct_ids(rows["request"].astype(np.int64), salt),
        "surface": pa.array(SURFACES).take(pa.array(rows["surface"])),
    }
    arrays = []
    for field in schema:
        values = joined.get(field.name)
        if values is None:
            mask = ~is_click if field.name in _NULL_WITHOUT_CLICK else None
            if field.name == PURCHASE_TIME:
                mask = ~(is_click & rows["purchase"].astype(np.bool_))
            values = pa.array(rows[field.name], type=field.type, mask=mask)
        arrays.append(values)
    return pa.Table.from_arrays(arrays, schema=schema)


def candidate_table(requests: Requests, users: pa.Table, items: pa.Table, salt: int) -> pa.Table:
    """What a ranking is given: keys and features of every candidate, request by request.

    Args:
        requests: R requests of K candidates each.
        users: Key and features of all users.
        items: Key and features of all items.
        salt: Sets the ids of requests, as in ``log_table``.
    """
    num_candidates = requests.item_RK.shape[1]
    by_request = {
        "request_id": distinct_ids(requests.number_R, salt),
        "time_ms": requests.time_ms_R,
        "hour": requests.hour_R.astype(np.int32),
        "surface": pa.array(SURFACES).take(pa.array(requests.surface_R)),
    }
    row_N = pa.array(np.repeat(np.arange(len(requests.number_R)), num_candidates))
    return pa.table(
        {
            **_take(pa.table(by_request), row_N),
            **_take(users, np.repeat(requests.user_R, num_candidates)),
            **_take(items, requests.item_RK.ravel()),
        }
    )


def _take(table: pa.Table, index: npt.NDArray[np.generic] | pa.Array) -> dict[str, pa.ChunkedArray]:
    taken = table.take(pa.array(index))
    return {name: taken.column(name) for name in taken.column_names}


def observed(table: pa.Table) -> pa.Table:
    """``table`` without its truth columns: what a real log would hold."""
    kept = [name for name in table.column_names if not name.startswith(TRUTH_PREFIX)]
    return table.select(kept)
