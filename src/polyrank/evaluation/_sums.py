"""What is left of a task's rows when they stream by: a few sums and a histogram of fixed cells.

Shapes: N rows, C cells, S numbers of state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyrank.evaluation._rows import Floats, Rows

NUM_CELLS = 16384
LOGIT_RANGE = 20.0
NUM_SCALARS = 8
STATE_SIZE = NUM_SCALARS + 3 * NUM_CELLS

# The smallest probability told from 0 (and 1 minus it from 1): float64's machine epsilon.
CLIP = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums over the rows seen so far; all of them add, so states of processes add too.

    Args:
        state_S: rows, positive labels, sum of weights, and weighted sums of label, prediction,
            log loss, absolute and squared error; then for each of ``NUM_CELLS`` cells of
            logit(probability) in [-20, 20] (outermost cells open) the weighted sums of positives,
            negatives and probabilities. Cells and log loss are of binary tasks only.
    """

    state_S: Floats

    @property
    def rows(self) -> int:
        """Rows counted."""
        return int(self.state_S[0])

    @property
    def positives(self) -> int:
        """Rows with a label above 0."""
        return int(self.state_S[1])

    @property
    def weight(self) -> float:
        """Sum of weights."""
        return float(self.state_S[2])

    @property
    def labels(self) -> float:
        """Weighted sum of labels."""
        return float(self.state_S[3])

    @property
    def predictions(self) -> float:
        """Weighted sum of predictions."""
        return float(self.state_S[4])

    @property
    def log_loss(self) -> float:
        """Weighted sum of log losses."""
        return float(self.state_S[5])

    @property
    def absolute(self) -> float:
        """Weighted sum of absolute errors."""
        return float(self.state_S[6])

    @property
    def squared(self) -> float:
        """Weighted sum of squared errors."""
        return float(self.state_S[7])

    @property
    def positives_C(self) -> Floats:
        """Weight of the positives of each cell."""
        return self.state_S[NUM_SCALARS : NUM_SCALARS + NUM_CELLS]

    @property
    def negatives_C(self) -> Floats:
        """Weight of the negatives of each cell."""
        return self.state_S[NUM_SCALARS + NUM_CELLS : NUM_SCALARS + 2 * NUM_CELLS]

    @property
    def predictions_C(self) -> Floats:
        """Weighted sum of the probabilities of each cell."""
        return self.state_S[NUM_SCALARS + 2 * NUM_CELLS :]


def losses(labels_N: Floats, probs_N: Floats) -> Floats:
    """Log loss of each row in nats; probabilities are clipped to [CLIP, 1 - CLIP]."""
    clipped_N = np.clip(probs_N, CLIP, 1 - CLIP)
    loss_N: Floats = -np.where(labels_N == 1, np.log(clipped_N), np.log1p(-clipped_N))
    return loss_N


def cells(probs_N: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The cell of each probability."""
    clipped_N = np.clip(probs_N, CLIP, 1 - CLIP)
    logits_N = np.log(clipped_N) - np.log1p(-clipped_N)
    scaled_N = (logits_N + LOGIT_RANGE) * (NUM_CELLS / (2 * LOGIT_RANGE))
    return np.clip(scaled_N, 0, NUM_CELLS - 1).astype(np.intp)


def cell_bounds() -> tuple[Floats, Floats]:
    """The lowest and the highest probability of each cell."""
    logits = np.linspace(-LOGIT_RANGE, LOGIT_RANGE, NUM_CELLS + 1)
    probs = 1 / (1 + np.exp(-logits))
    return np.append(0.0, probs[1:-1]), np.append(probs[1:-1], 1.0)


def summarise(rows: Rows, binary: bool) -> Floats:
    """The state of ``rows`` alone; add it to the state of others."""
    labels_N, predictions_N, weights_N = rows.labels_N, rows.predictions_N, rows.weights_N
    errors_N = predictions_N - labels_N
    state_S = np.zeros(STATE_SIZE)
    state_S[:5] = (
        len(rows),
        np.count_nonzero(labels_N > 0),
        weights_N.sum(),
        np.dot(weights_N, labels_N),
        np.dot(weights_N, predictions_N),
    )
    state_S[6:8] = np.dot(weights_N, np.abs(errors_N)), np.dot(weights_N, errors_N**2)
    if binary:
        state_S[5] = np.dot(weights_N, losses(labels_N, predictions_N))
        cells_N = cells(predictions_N)
        parts = (labels_N, 1 - labels_N, predictions_N)
        state_S[NUM_SCALARS:] = np.concatenate(
            [np.bincount(cells_N, weights_N * part_N, minlength=NUM_CELLS) for part_N in parts]
        )
    return state_S
