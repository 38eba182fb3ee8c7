"""Fit, evaluate, rank, save and load from Python, on a simulated feed.

python examples/quickstart.py [ROWS]
"""

import sys
import tempfile
from pathlib import Path

import pyarrow as pa

import polyrank as pr
from polyrank.simulation import Feed, FeedConfig, feed_schema, observed


def main(rows: int = 60_000) -> None:
    """One model for six objectives."""
    feed = Feed(FeedConfig(seed=1))
    log = observed(pa.concat_tables(list(feed.tables(rows))))
    train, held_out = log.slice(0, rows * 8 // 10), log.slice(rows * 8 // 10)

    ranker = pr.Ranker(
        feed_schema(feed.config.embedding_dim),
        sharing=pr.MMoE(num_experts=4, widths=(64, 32)),
        balance=pr.Static(like=2.0),
        training=pr.TrainingConfig(epochs=2, batch_size=1024),
    )
    ranker.fit(train, validation=held_out)

    evaluation = ranker.evaluate(held_out)
    for task in ("click", "long_view", "like", "purchase"):
        row = evaluation.row(task, "auc")
        print(f"{task:10} AUC {row.value:.3f} ({row.lower:.3f} to {row.upper:.3f})")

    candidates = held_out.slice(0, 10)
    ranked = ranker.rank(candidates, by={"click": 1.0, "purchase": 5.0, "report": -20.0})
    print(ranked.select(["item_id", "predicted_click", "score"]).slice(0, 3).to_pylist())

    with tempfile.TemporaryDirectory() as folder:
        ranker.save(Path(folder) / "bundle")
        loaded = pr.Ranker.load(Path(folder) / "bundle")
        print("loaded scores equal:", loaded.score(candidates).equals(ranker.score(candidates)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000)
