"""The catalogue: what items are, and what the log says of them.

N items, D latent width, E embedding width, A authors, T tags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyrank.simulation.config import NUM_ITEM_TRAITS, FeedConfig
from polyrank.simulation.streams import Stream, cumulative, distinct_ids, generator

FloatArray = npt.NDArray[np.float64]

CATEGORIES = (
    "animals", "comedy", "diy", "fashion", "film", "food",
    "games", "music", "news", "science", "sport", "travel",
)  # fmt: skip
MEDIAN_LENGTH_S = 30.0
_NUM_TASTE_TAGS = 32
_LENGTH_SPREAD = 0.8
_ITEMS_PER_AUTHOR = 8
_MEAN_AGE_DAYS = 30.0


@dataclass(frozen=True)
class Items:
    """The catalogue with its truth. Traits have mean 0 and variance 1 and are uncorrelated."""

    table: pa.Table
    """``item_id`` and the item features of the log, one row an item."""
    latent_ND: FloatArray
    quality_N: FloatArray
    """Part of relevance that all users agree on."""
    appeal_quality_N: FloatArray
    """Part of appeal that all users agree on."""
    clickbait_N: FloatArray
    """Skewed to the right: most items are mild."""
    log_length_N: FloatArray
    """log(length / 30 s)."""
    freshness_N: FloatArray
    intent_N: FloatArray
    """How much the item is for sale."""
    popularity_N: FloatArray
    """Cumulative shares of candidates."""


def build_items(config: FeedConfig) -> Items:
    """Draw the catalogue of ``config``."""
    rng = generator(config.seed, Stream.ITEMS)
    num_items, rho = config.num_items, config.satisfaction_appeal_correlation
    author_N, category_N, raw_ND = _taste_space(rng, num_items, config.latent_dim)
    trait_N4 = rng.standard_normal((num_items, NUM_ITEM_TRAITS))
    trait_N4[:, 0] = rng.gamma(2.0, size=num_items)
    white = _whiten(np.hstack([trait_N4, raw_ND]))
    clickbait_N, length_N, quality_N, other_N = white[:, :NUM_ITEM_TRAITS].T
    latent_ND = white[:, NUM_ITEM_TRAITS:]
    appeal_quality_N = rho * quality_N + np.sqrt(1 - rho**2) * other_N
    length_s_N = np.clip(MEDIAN_LENGTH_S * np.exp(_LENGTH_SPREAD * length_N), 3.0, 3_600.0)
    age_N = rng.exponential(_MEAN_AGE_DAYS, num_items)
    signal = np.column_stack([latent_ND, quality_N, appeal_quality_N, clickbait_N])
    columns = {
        "item_id": distinct_ids(np.arange(num_items), config.seed * 4 + 1),
        "item_author": distinct_ids(author_N, config.seed * 4 + 2),
        "item_category": pa.array(CATEGORIES).take(pa.array(category_N)),
        "item_tags": _tags(rng, latent_ND, clickbait_N),
        "item_length_s": length_s_N.astype(np.float32),
        "item_age_days": age_N.astype(np.float32),
        "item_embedding": _embedding(rng, config, signal),
    }
    return Items(
        table=pa.table(columns),
        latent_ND=latent_ND,
        quality_N=quality_N,
        appeal_quality_N=appeal_quality_N,
        clickbait_N=clickbait_N,
        log_length_N=np.log(length_s_N / MEDIAN_LENGTH_S),
        freshness_N=-np.log(np.maximum(age_N, 0.1) / _MEAN_AGE_DAYS) - 0.5,
        intent_N=_intent(rng, category_N),
        popularity_N=_popularity(rng, config.popularity_spread, appeal_quality_N),
    )


def _taste_space(
    rng: np.random.Generator, num_items: int, latent_dim: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:
    """Authors, their categories, and raw latents that both say much of."""
    num_authors = max(1, num_items // _ITEMS_PER_AUTHOR)
    author_N = rng.integers(num_authors, size=num_items)
    category_N = rng.integers(len(CATEGORIES), size=num_authors)[author_N]
    centre_CD = rng.standard_normal((len(CATEGORIES), latent_dim))
    author_AD = rng.standard_normal((num_authors, latent_dim))
    own_ND = rng.standard_normal((num_items, latent_dim))
    raw_ND = 0.7 * centre_CD[category_N] + 0.4 * author_AD[author_N] + 0.6 * own_ND
    return author_N, category_N, raw_ND


def _whiten(x_NF: FloatArray) -> FloatArray:
    """Columns with mean 0, variance 1 and no correlation; a column changes by those before it.

    Products are einsum here and below: BLAS may change the last bits with its number of threads.
    """
    centred_NF = x_NF - x_NF.mean(axis=0)
    covariance_FF = np.einsum("nf,ng->fg", centred_NF, centred_NF) / len(x_NF)
    factor_FF = np.linalg.inv(np.linalg.cholesky(covariance_FF))
    return np.asarray(np.einsum("nf,gf->ng", centred_NF, factor_FF))


def _tags(rng: np.random.Generator, latent_ND: FloatArray, clickbait_N: FloatArray) -> pa.Array:
    """Up to three tags where the item's taste points, and ``shock`` on what looks like bait."""
    direction_TD = rng.standard_normal((_NUM_TASTE_TAGS, latent_ND.shape[1]))
    direction_TD /= np.linalg.norm(direction_TD, axis=1, keepdims=True)
    score_NT = np.einsum("nd,td->nt", latent_ND, direction_TD)
    score_NT += 0.7 * rng.standard_normal(score_NT.shape)
    rank_NT = np.argsort(np.argsort(-score_NT, axis=1), axis=1)
    is_bait_N = clickbait_N + 0.5 * rng.standard_normal(len(clickbait_N)) > 1.0
    has_NT = np.column_stack([rank_NT < rng.integers(4, size=len(clickbait_N))[:, None], is_bait_N])
    names = pa.array([f"tag_{tag:02d}" for tag in range(_NUM_TASTE_TAGS)] + ["shock"])
    return ragged(names.take(pa.array(np.nonzero(has_NT)[1])), has_NT.sum(axis=1))


def ragged(values: pa.Array, count_N: npt.NDArray[np.int64]) -> pa.Array:
    """A list array: row n holds the next ``count_N[n]`` of ``values``."""
    offset = np.concatenate([[0], np.cumsum(count_N)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offset), values)


def _embedding(rng: np.random.Generator, config: FeedConfig, signal_NF: FloatArray) -> pa.Array:
    """A noisy rotation of all that makes the item liked or clicked: fixed-size list of float32."""
    width, num_signals = config.embedding_dim, signal_NF.shape[1]
    size = max(width, num_signals)
    rotation = np.linalg.qr(rng.standard_normal((size, size)))[0][:num_signals, :width]
    noise_NE = rng.standard_normal((len(signal_NF), width))
    embedding_NE = np.einsum("nf,fe->ne", signal_NF, rotation) + config.embedding_noise * noise_NE
    values = pa.array(embedding_NE.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(values, width)


def _intent(rng: np.random.Generator, category_N: npt.NDArray[np.int64]) -> FloatArray:
    centre_C = rng.standard_normal(len(CATEGORIES))
    return np.asarray(0.7 * centre_C[category_N] + 0.7 * rng.standard_normal(len(category_N)))


def _popularity(
    rng: np.random.Generator, spread: float, appeal_quality_N: FloatArray
) -> FloatArray:
    own_N = rng.standard_normal(len(appeal_quality_N))
    return cumulative(np.exp(spread * (0.95 * own_N + 0.3 * appeal_quality_N)))
