"""Expected calibration error over bins of equal mass.

Shapes: N rows, R distinct predictions or fixed cells, ascending, B bins.
"""

from __future__ import annotations

import numpy as np

from polyrank.errors import ConfigError
from polyrank.evaluation._measure import NO_ROWS, Measure, defined, undefined
from polyrank.evaluation._metric import BINARY, Metric, Statistic
from polyrank.evaluation._rows import Draw, Floats, Ints, Rows, sum_runs
from polyrank.evaluation._sums import Sums, cell_bounds

NUM_BINS = 15


def bin_starts(mass_R: Floats, num_bins: int) -> Ints:
    """Where each bin that is not empty starts: by the middle of each run's mass."""
    cumulative_R = np.cumsum(mass_R)
    edges_B = cumulative_R[-1] * np.arange(num_bins) / num_bins
    starts_B = np.unique(np.searchsorted(cumulative_R - mass_R / 2, edges_B))
    return np.asarray(starts_B[starts_B < len(mass_R)], dtype=np.int64)


def _gap(mass_R: Floats, gaps_R: Floats, num_bins: int) -> Measure:
    """``gaps_R`` are weighted sums of prediction minus label."""
    gaps_B = np.add.reduceat(gaps_R, bin_starts(mass_R, num_bins))
    return defined(float(np.abs(gaps_B).sum()) / float(mass_R.sum()))


def _stream_error(sums: Sums, num_bins: int) -> float:
    mass_C = sums.positives_C + sums.negatives_C
    total = float(mass_C.sum())
    if total == 0:
        return 0.0
    cumulative_C = np.cumsum(mass_C)
    edges_B = cumulative_C[-1] * np.arange(1, num_bins) / num_bins
    cut_C = np.unique(np.searchsorted(cumulative_C, edges_B))
    lowest_C, highest_C = cell_bounds()
    gap_C = sums.negatives_C * highest_C + sums.positives_C * (1 - lowest_C)
    return 2 * float(gap_C[cut_C].sum()) / total


def ece_with(num_bins: int, name: str | None = None) -> Metric:
    """ECE with another number of bins; named ``ece@num_bins`` unless told otherwise.

    Raises:
        ConfigError: Fewer than 1 bin.
    """
    if num_bins < 1:
        raise ConfigError(f"`num_bins` must be at least 1, got {num_bins}")

    def bind(rows: Rows, groups_N: Ints) -> Statistic:
        rows.require_binary("ece")
        rows.require_probabilities("ece")
        residuals_N = rows.predictions_N - rows.labels_N

        def statistic(draw: Draw) -> Measure:
            mass_R = sum_runs(draw.weights_N, rows.runs_R)
            return _gap(mass_R, sum_runs(draw.weights_N * residuals_N, rows.runs_R), num_bins)

        return statistic

    def stream(sums: Sums) -> Measure:
        if sums.weight == 0:
            return undefined(NO_ROWS)
        mass_C = sums.positives_C + sums.negatives_C
        return _gap(mass_C, sums.predictions_C - sums.positives_C, num_bins)

    return Metric(
        name=name or f"ece@{num_bins}",
        kinds=BINARY,
        higher_is_better=False,
        bind_rows=bind,
        stream=stream,
        stream_error=lambda sums: _stream_error(sums, num_bins),
        biased_by_drawing=True,
    )


ece = ece_with(NUM_BINS, "ece")
"""ECE = sum over bins b of (W_b / W) |mean p in b - mean y in b|, means and W by row weight.

15 bins of equal mass over the sorted predictions (rates of 0.1 % would all fall into the first of
equal-width bins). Rows of equal prediction stay together: they go to the bin that holds the middle
of their mass, so bins may differ in mass and some may be empty. In [0, 1]. Defined with one class.
Source: Naeini et al. 2015; equal mass: Nixon et al. 2019, "Measuring Calibration in Deep Learning".

Of N rows it is above that of infinitely many: chance alone leaves a gap in every bin, so that the
ECE of a calibrated model is about sqrt(2 / π) times the mean standard error of a bin, not 0. A
replicate has the chance of the rows and its own, and lies higher yet. Intervals are therefore the
percentiles of the replicates shifted onto the value: what they hold in about 95 % of logs is the
ECE that logs of as many rows have on average, not the one of infinitely many rows.

Streamed, the rows of one histogram cell stay together, so rows may change bins only in the cells
that hold the edge of a bin: the error is at most 2 / W times the sum over these cells of
N_c h_c + P_c (1 - l_c), with N_c and P_c the weights of its negatives and positives and l_c and h_c
its lowest and highest probability.
"""
