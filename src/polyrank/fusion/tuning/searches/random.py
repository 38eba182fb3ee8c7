"""Points anywhere: what every search must beat."""

from __future__ import annotations

from typing import Literal

import numpy as np

from polyrank.fusion.tuning.searches.base import Asking, Problem, Search, Told

BATCH = 128


class Random(Search):
    """Each weight independent and uniform on its log scale (Bergstra and Bengio, JMLR 2012)."""

    kind: Literal["random"] = "random"

    def _ask(self, problem: Problem, seed: int, start: Told) -> Asking:
        rng = np.random.default_rng(seed)
        while True:
            yield rng.random((BATCH, len(problem.weights)))
