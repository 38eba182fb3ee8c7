"""The simulated feed: a log of ranked requests whose truth is known.

R requests of a block, K candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from polyrank.errors import ConfigError
from polyrank.simulation.config import DAY_MS, FeedConfig
from polyrank.simulation.log import (
    LATE_TRUTH,
    PURCHASE_TIME,
    TRUTH_PREFIX,
    Rows,
    log_schema,
    log_table,
)
from polyrank.simulation.rechunk import rechunk
from polyrank.simulation.requests import Requests
from polyrank.simulation.responses import Causes, Labels, Truth
from polyrank.simulation.world import World
from polyrank.simulation.writer import write_log


class Feed:
    """A feed of ``config``: any number of impressions, with what is true of each.

    Rows come request by request in time, positions ascending. A log of n rows spans all the days
    of the configuration; its last request is cut where n is not a multiple of
    ``candidates_per_request``. Memory grows with users, items and ``chunk_rows``, not with rows.

    Args:
        config: The parameters; by default those of ``default_feed_config()``.
    """

    def __init__(self, config: FeedConfig | None = None) -> None:
        self.config = config or FeedConfig()
        self.world = World(self.config)

    @property
    def schema(self) -> pa.Schema:
        """Columns of the log, truth included; ``polyrank.simulation.log`` describes them."""
        late = self.config.purchase_delay_days > 0
        return log_schema(self.config.embedding_dim, late=late)

    def users(self) -> pa.Table:
        """``user_id`` and the user features, one row a user: what the log's rows repeat."""
        return self.world.users.table

    def items(self) -> pa.Table:
        """``item_id`` and the item features, one row an item: what the log's rows repeat."""
        return self.world.items.table

    def tables(
        self, num_rows: int, chunk_rows: int = 65_536, *, first_row: int = 0
    ) -> Iterator[pa.Table]:
        """Rows ``first_row`` to ``num_rows`` of the log of ``num_rows`` impressions.

        Every row is the same for every ``chunk_rows`` and ``first_row``. Logs of different
        ``num_rows`` differ in their times and what depends on the hour.

        Args:
            num_rows: Rows of the whole log, at least 1.
            chunk_rows: Rows of each table but the last, at least 1.
            first_row: Where to start, in [0, num_rows).

        Raises:
            ConfigError: A number out of its range.
        """
        _require("num_rows", num_rows, num_rows >= 1, "at least 1")
        _require("chunk_rows", chunk_rows, chunk_rows >= 1, "at least 1")
        inside = 0 <= first_row < num_rows
        _require("first_row", first_row, inside, f"in [0, {num_rows}), the rows of the log")
        return self._stream(num_rows, chunk_rows, first_row)

    def write(self, path: str | Path, num_rows: int) -> tuple[Path, ...]:
        """Write the log of ``num_rows`` impressions as Parquet with page checksums.

        Args:
            path: A name that ends in ``.parquet`` is one file, replaced if it exists; any other
                is a directory of one file a day, ``2026-01-05.parquet``, which must be new or
                empty.
            num_rows: Rows of the log, at least 1.

        Returns:
            The files written, in order of time. What stands under ``path`` is always complete.

        Raises:
            ConfigError: ``num_rows`` below 1, or a directory that is not empty.
            StorageError: The disk is full, read-only or failing.
        """
        return write_log(Path(path), self.tables(num_rows), self.schema)

    def _stream(self, num_rows: int, chunk_rows: int, first_row: int) -> Iterator[pa.Table]:
        salt = self.config.seed * 4 + 3
        for rows in rechunk(self._blocks(num_rows, first_row), chunk_rows):
            yield log_table(rows, self.users(), self.items(), self.schema, salt)

    def _blocks(self, num_rows: int, first_row: int) -> Iterator[Rows]:
        """Rows ``first_row`` to ``num_rows``, a block at a time."""
        num_candidates = self.config.candidates_per_request
        block_rows = self.world.requests_per_block * num_candidates
        for block in range(first_row // block_rows, -(-num_rows // block_rows)):
            start = block * block_rows
            cut = slice(max(0, first_row - start), num_rows - start)
            rows = self._block(block, -(-num_rows // num_candidates))
            yield {name: values[cut] for name, values in rows.items()}

    def _block(self, block: int, num_requests: int) -> Rows:
        """All rows of one block, in the order of the log."""
        requests = self.world.requests(block, num_requests)
        causes = self.world.causes(requests)
        ranking = self.world.logging_ranking(requests, causes)
        truth = self.world.truth(causes)
        labels = self.world.respond(requests, causes, truth, ranking)
        examination_RK = self.world.examination(ranking)
        shape = ranking.order_RK.shape
        by_request = {
            "user": requests.user_R,
            "request": requests.number_R,
            "time_ms": requests.time_ms_R,
            "hour": requests.hour_R,
            "surface": requests.surface_R,
        }
        by_candidate = {
            "item": requests.item_RK,
            "position": ranking.position_RK,
            **_label_columns(labels),
            **_truth_columns(causes, truth, examination_RK),
        }
        if self.config.purchase_delay_days > 0:
            by_candidate |= self._late(block, requests, labels)
        order = (ranking.order_RK + np.arange(shape[0])[:, None] * shape[1]).ravel()
        return {
            **{name: np.repeat(values, shape[1]) for name, values in by_request.items()},
            **{name: values.ravel()[order] for name, values in by_candidate.items()},
            "propensity": ranking.propensity_RK.ravel(),
        }

    def _late(self, block: int, requests: Requests, labels: Labels) -> Rows:
        """What the log has of purchases that have come by its cut, and what is true of all."""
        delay_RK = self.world.purchase_delays(block, requests)
        time_RK = requests.time_ms_R[:, None] + np.rint(delay_RK * DAY_MS).astype(np.int64)
        has_come_RK = labels.purchase & (time_RK <= self.config.observed_until_ms)
        happens, delay = LATE_TRUTH
        return {
            "purchase": has_come_RK.astype(np.int8),
            PURCHASE_TIME: time_RK,
            happens: labels.purchase.astype(np.float32),
            delay: delay_RK.astype(np.float32),
        }


def _label_columns(labels: Labels) -> Rows:
    return {
        "click": labels.click.astype(np.int8),
        "long_view": labels.long_view.astype(np.int8),
        "purchase": labels.purchase.astype(np.int8),
        "like": (labels.click & labels.like).astype(np.int8),
        "report": (labels.click & labels.report).astype(np.int8),
        "watch_time_s": labels.watch_time_s.astype(np.float32),
    }


def _truth_columns(causes: Causes, truth: Truth, examination_RK: npt.NDArray[np.float64]) -> Rows:
    columns = {
        "relevance": causes.relevance,
        "appeal": causes.appeal,
        "clickbait": causes.clickbait,
        "examination": examination_RK,
        "satisfaction": truth.satisfaction,
        "click_probability": truth.click,
        "long_view_probability": truth.long_view,
        "purchase_probability": truth.purchase,
        "like_probability": truth.like,
        "report_probability": truth.report,
        "watch_time_s": truth.watch_time_s,
    }
    return {TRUTH_PREFIX + name: values.astype(np.float32) for name, values in columns.items()}


def _require(name: str, value: int, holds: bool, rule: str) -> None:
    if not holds:
        raise ConfigError(f"`{name}` must be {rule}, got {value}")
