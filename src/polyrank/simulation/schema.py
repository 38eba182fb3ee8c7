"""What the simulated feed's log means."""

from __future__ import annotations

from polyrank.schema import (
    Bag,
    Binary,
    Categorical,
    Duration,
    Embedding,
    Keys,
    Numeric,
    Schema,
    Sequence,
)


def feed_schema(embedding_dim: int) -> Schema:
    """Features, the tasks click, long_view, like, purchase, report and watch time, and the keys.

    The position is a key and no feature: it is not known when candidates are scored.

    Args:
        embedding_dim: ``FeedConfig.embedding_dim``.
    """
    return Schema(
        features=(
            Categorical(name="user_country", side="user"),
            Categorical(name="user_age_bucket", side="user"),
            Numeric(name="user_activity", side="user", scaling="log"),
            Sequence(name="user_history", side="user", shares="item_id", pooling="attention"),
            Categorical(name="item_id", side="item"),
            Categorical(name="item_author", side="item"),
            Categorical(name="item_category", side="item"),
            Bag(name="item_tags", side="item"),
            Numeric(name="item_length_s", side="item", scaling="bins"),
            Numeric(name="item_age_days", side="item", scaling="log"),
            Embedding(name="item_embedding", side="item", dim=embedding_dim),
            Categorical(name="surface"),
            Numeric(name="hour", scaling="bins", num_bins=24),
        ),
        tasks=(
            Binary(name="click"),
            Binary(name="long_view", within="click"),
            Binary(name="like"),
            Binary(name="purchase", within="click"),
            Binary(name="report", sign="bad"),
            Duration(name="watch_time", label="watch_time_s", within="click"),
        ),
        keys=Keys(
            user="user_id",
            item="item_id",
            request="request_id",
            time="time_ms",
            position="position",
        ),
    )
