"""Census-Income: income above 50,000 and never married, against boosted trees on the same features.

The official test half, split by a fixed hash into 60/20/20; no paper's numbers compare.

    python benchmarks/census.py --data-root ../shared/data --work build/census --final

The result goes to benchmarks/results/census.md. Data: UCI, CC BY 4.0.
"""

from __future__ import annotations

from quality.bench import main

TUNED = {
    "income": {
        "objective": "binary",
        "num_leaves": 63,
        "learning_rate": 0.03,
        "min_child_samples": 20,
        "with_ids": True,
    },
    "never_married": {
        "objective": "binary",
        "num_leaves": 15,
        "learning_rate": 0.03,
        "min_child_samples": 100,
        "with_ids": False,
    },
}
"""The best of ``--tune`` on validation: AUC."""


if __name__ == "__main__":
    main(__doc__ or "", "census.yaml", TUNED, {"binary": ["auc", "log_loss"]})
