"""The users: what they want, and what the log says of them.

U users, D latent width, H longest history, P pool a history is chosen from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyrank.simulation.config import FeedConfig
from polyrank.simulation.items import Items, ragged
from polyrank.simulation.streams import (
    Stream,
    cumulative,
    distinct_ids,
    draw_distinct,
    generator,
    gumbel,
)

FloatArray = npt.NDArray[np.float64]

COUNTRIES = ("BR", "DE", "ID", "IN", "JP", "MX", "NG", "US")
AGE_BUCKETS = ("13-17", "18-24", "25-34", "35-44", "45-54", "55+")
_HISTORY_BLOCK = 4_096
_POOL_FACTOR = 4


@dataclass(frozen=True)
class Users:
    """The users with their truth."""

    table: pa.Table
    """``user_id`` and the user features of the log, one row a user."""
    relevance_taste_UD: FloatArray
    """Unit vectors: what satisfies."""
    appeal_taste_UD: FloatArray
    """Unit vectors: what is clicked; their cosine to the former is rho."""
    click_bias_U: FloatArray
    like_bias_U: FloatArray
    purchase_bias_U: FloatArray
    activity_U: FloatArray
    """Cumulative shares of requests."""


def build_users(config: FeedConfig, items: Items) -> Users:
    """Draw the users of ``config`` and what they watched before the log."""
    rng = generator(config.seed, Stream.USERS)
    num_users = config.num_users
    country_U = rng.integers(len(COUNTRIES), size=num_users)
    age_U = rng.integers(len(AGE_BUCKETS), size=num_users)
    relevance_UD, appeal_UD = _tastes(rng, config, country_U, age_U)
    log_activity_U = rng.standard_normal(num_users)
    activity_U = np.exp(config.activity_spread * log_activity_U)
    bias_U3 = rng.standard_normal((num_users, 3))
    country_bias_C = rng.standard_normal(len(COUNTRIES))
    is_missing_U = rng.random(num_users) < config.missing_rate
    table = pa.table(
        {
            "user_id": distinct_ids(np.arange(num_users), config.seed * 4),
            "user_country": pa.array(COUNTRIES).take(pa.array(country_U)),
            "user_age_bucket": pa.array(AGE_BUCKETS).take(pa.array(age_U)),
            "user_activity": pa.array(activity_U.astype(np.float32), mask=is_missing_U),
            "user_history": _history(config, items, relevance_UD),
        }
    )
    return Users(
        table=table,
        relevance_taste_UD=relevance_UD,
        appeal_taste_UD=appeal_UD,
        click_bias_U=0.2 * log_activity_U + 0.3 * bias_U3[:, 0],
        like_bias_U=0.6 * bias_U3[:, 1],
        purchase_bias_U=0.3 * bias_U3[:, 2] + 0.4 * country_bias_C[country_U],
        activity_U=cumulative(activity_U),
    )


def _tastes(
    rng: np.random.Generator,
    config: FeedConfig,
    country_U: npt.NDArray[np.int64],
    age_U: npt.NDArray[np.int64],
) -> tuple[FloatArray, FloatArray]:
    """Unit vectors of relevance, led by country and age, and of appeal at cosine rho to them."""
    width = config.latent_dim
    country_CD = rng.standard_normal((len(COUNTRIES), width))
    age_AD = rng.standard_normal((len(AGE_BUCKETS), width))
    own_UD = rng.standard_normal((len(country_U), width))
    relevance_UD = _unit(0.5 * country_CD[country_U] + 0.5 * age_AD[age_U] + 0.7 * own_UD)
    other_UD = rng.standard_normal(own_UD.shape)
    along_U1 = (other_UD * relevance_UD).sum(axis=1, keepdims=True)
    other_UD = _unit(other_UD - along_U1 * relevance_UD)
    rho = config.satisfaction_appeal_correlation
    return relevance_UD, rho * relevance_UD + np.sqrt(1 - rho**2) * other_UD


def _unit(x_UD: FloatArray) -> FloatArray:
    return np.asarray(x_UD / np.linalg.norm(x_UD, axis=1, keepdims=True))


def _history(config: FeedConfig, items: Items, taste_UD: FloatArray) -> pa.Array:
    """Up to ``history_length`` items a user, chosen by taste from a pool drawn by popularity.

    Lengths are uniform from 0, so some users have none. The order carries no meaning.
    """
    pool_size = min(_POOL_FACTOR * config.history_length, config.num_items)
    longest = min(config.history_length, pool_size)
    chosen, counts = [], []
    for block, start in enumerate(range(0, len(taste_UD), _HISTORY_BLOCK)):
        rng = generator(config.seed, Stream.HISTORY, block)
        block_UD = taste_UD[start : start + _HISTORY_BLOCK]
        pool_UP = draw_distinct(items.popularity_N, rng.random((len(block_UD), pool_size)))
        affinity_UP = np.einsum("ud,upd->up", block_UD, items.latent_ND[pool_UP])
        preference_UP = affinity_UP + 0.5 * gumbel(rng, pool_UP.shape)
        count_U = rng.integers(longest + 1, size=len(block_UD))
        rank_UP = np.argsort(np.argsort(-preference_UP, axis=1), axis=1)
        chosen.append(pool_UP[rank_UP < count_U[:, None]])
        counts.append(count_U)
    item_id = items.table.column("item_id").combine_chunks()
    return ragged(item_id.take(pa.array(np.concatenate(chosen))), np.concatenate(counts))
