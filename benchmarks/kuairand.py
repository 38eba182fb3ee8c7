"""KuaiRand: polyrank against boosted trees, one model a task, on the same features.

Train on 25-28 April 2022, choose on the 29th, and with ``--final`` report the 30th as well, which
nothing was chosen on.

    python benchmarks/kuairand.py --data-root ../shared/data --work build/kuairand --final

The result goes to benchmarks/results/kuairand.md. Data: KuaiRand-Pure, CC BY-SA 4.0 (Gao et al.,
CIKM 2022).
"""

from __future__ import annotations

from quality.bench import main

TUNED = {
    "click": {
        "objective": "binary",
        "num_leaves": 63,
        "learning_rate": 0.03,
        "min_child_samples": 20,
        "with_ids": True,
    },
    "long_view": {
        "objective": "binary",
        "num_leaves": 15,
        "learning_rate": 0.03,
        "min_child_samples": 20,
        "with_ids": True,
    },
    "like": {
        "objective": "binary",
        "num_leaves": 31,
        "learning_rate": 0.03,
        "min_child_samples": 100,
        "with_ids": True,
    },
    "profile_enter": {
        "objective": "binary",
        "num_leaves": 63,
        "learning_rate": 0.03,
        "min_child_samples": 20,
        "with_ids": True,
    },
    "play_time": {
        "objective": "l1",
        "num_leaves": 63,
        "learning_rate": 0.03,
        "min_child_samples": 20,
        "with_ids": False,
    },
}
"""The best of ``--tune`` on the 29th: AUC + GAUC, or MAE."""


if __name__ == "__main__":
    main(__doc__ or "", "kuairand.yaml", TUNED)
