"""From a bundle and a table of candidates to predictions, a ranked list, or an evaluation.

Batch scoring, ranking and evaluation take this one way: the bundle's encoders, then the engine.
"""

from polyrank.scoring.calibrating import (
    calibrate_on,
    calibrated,
    calibration_config,
    columns_of,
)
from polyrank.scoring.engines import Engine, TorchEngine, UserRows
from polyrank.scoring.evaluation import (
    check_evaluation,
    compare_scorers,
    evaluate_log,
    evaluate_rows,
    observe_log,
)
from polyrank.scoring.fusing import TOP, Replay, equal_start, replay
from polyrank.scoring.gains import Gains, measure_gains
from polyrank.scoring.held_out import fingerprints, seen_in_training
from polyrank.scoring.off_policy import (
    Judged,
    Judgement,
    estimate_jittered,
    estimate_log,
)
from polyrank.scoring.off_policy_decisions import tuned, weights_of
from polyrank.scoring.off_policy_log import Question, drawn_from
from polyrank.scoring.order import SCORE, TERM, Order
from polyrank.scoring.requests import Asked, RequestScorer
from polyrank.scoring.scorer import PREFIX, Scorer
from polyrank.scoring.slices import check_slices
from polyrank.scoring.tuning import Then, Tuning, tune

__all__ = [
    "PREFIX",
    "SCORE",
    "TERM",
    "TOP",
    "Asked",
    "Engine",
    "Gains",
    "Judged",
    "Judgement",
    "Order",
    "Question",
    "Replay",
    "RequestScorer",
    "Scorer",
    "Then",
    "TorchEngine",
    "Tuning",
    "UserRows",
    "calibrate_on",
    "calibrated",
    "calibration_config",
    "check_evaluation",
    "check_slices",
    "columns_of",
    "compare_scorers",
    "drawn_from",
    "equal_start",
    "estimate_jittered",
    "estimate_log",
    "evaluate_log",
    "evaluate_rows",
    "fingerprints",
    "measure_gains",
    "observe_log",
    "replay",
    "seen_in_training",
    "tune",
    "tuned",
    "weights_of",
]
