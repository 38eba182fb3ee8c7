"""A feed with known truth: users, items and ranked requests, as many as wanted.

>>> from polyrank.simulation import Feed, FeedConfig, observed
>>> feed = Feed(FeedConfig(seed=7, num_users=500, num_items=200, clickbait_strength=1.0))
>>> log = next(feed.tables(num_rows=10_000))
>>> log.num_rows, sum(log["click"].to_pylist()) > 1_000
(10000, True)
>>> "truth_satisfaction" in log.column_names, "truth_satisfaction" in observed(log).column_names
(True, False)
"""

from polyrank.simulation.config import FeedConfig, default_feed_config
from polyrank.simulation.feed import Feed
from polyrank.simulation.log import TRUTH_PREFIX, observed
from polyrank.simulation.schema import feed_schema

__all__ = ["TRUTH_PREFIX", "Feed", "FeedConfig", "default_feed_config", "feed_schema", "observed"]
