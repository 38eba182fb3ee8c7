"""Census-Income: income above 50,000 and never married, against boosted trees on the same features.

The official test half, split by a fixed hash into 60/20/20; no paper's numbers compare.

    python benchmarks/census.py --data-root ../shared/data --work build/census --final

The result goes to benchmarks/results/census.md. Data: UCI, CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

from quality.bench import Bench, arguments, main
from quality.runs import Study

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "census.yaml"

MODELS = {
    "MMoE": [],
    "shared-bottom": ["model.sharing={kind: shared_bottom, widths: [256, 32]}"],
    "single-task": ["model.sharing={kind: single_task, widths: [64, 32]}"],
}
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
    given = arguments(__doc__ or "")
    study = Study(EXAMPLE, given.data_root)
    metrics = {"binary": ["auc", "log_loss"]}
    bench = Bench(study, MODELS, TUNED, given.work, given.seeds, metrics)
    print("\n".join(main(bench, given)))
