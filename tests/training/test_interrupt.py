"""A signal at each kind of moment: a checkpoint, the right exit code, the same bits later."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from polyrank.data import EncodedLog
from polyrank.errors import InterruptedRun
from polyrank.model import RankingModel
from polyrank.training import Prepared, TrainResult, train
from polyrank.training.records import EvaluationRecord, Record
from tests.training.runs import Recorder, config, digest, lines, prepared

SETTINGS: dict[str, Any] = {"epochs": 2, "select": {"every": 4, "patience": 0}}
STEPS = 20


class Signaller(Recorder):
    """Raises a signal at a step, or at the record of the evaluation after one."""

    def __init__(self, step: int, *, at_evaluation: bool = False) -> None:
        super().__init__()
        self._step, self._at_evaluation = step, at_evaluation

    def advance(self, step: int, rows: int) -> None:
        super().advance(step, rows)
        if step == self._step and not self._at_evaluation:
            signal.raise_signal(signal.SIGTERM)

    def record(self, record: Record) -> None:
        super().record(record)
        last = isinstance(record, EvaluationRecord) and record.step == self._step
        if last and self._at_evaluation:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, TrainResult, Path]:
    folder = tmp_path_factory.mktemp("whole")
    log = prepared(folder / "cache")
    return log, train(config(**SETTINGS), log, folder), folder


def resumes_to_the_same(whole: tuple[Prepared, TrainResult, Path], folder: Path) -> bool:
    log, expected, alone = whole
    result = train(config(**SETTINGS), log, folder, resume="strict")
    return digest(result.model) == digest(expected.model) and lines(folder) == lines(alone)


@pytest.mark.parametrize("step", [1, 7, 10, 13])
def test_at_a_step_the_run_stops_at_its_boundary(
    whole: tuple[Prepared, TrainResult, Path], tmp_path: Path, step: int
) -> None:
    watcher = Signaller(step)
    with pytest.raises(InterruptedRun) as caught:
        train(config(**SETTINGS), whole[0], tmp_path, observer=watcher)
    assert caught.value.exit_code == 75
    assert caught.value.message == (
        f"stopped by SIGTERM after step {step} of {STEPS}; a checkpoint was made"
    )
    assert watcher.steps[-1] == step
    assert watcher.closed == 1
    assert (tmp_path / "checkpoints" / f"step-{step:010d}").exists()
    assert resumes_to_the_same(whole, tmp_path)


@pytest.mark.parametrize("step", [8, STEPS])
def test_within_an_evaluation_it_is_given_up_and_done_again(
    whole: tuple[Prepared, TrainResult, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    watcher = Recorder()
    ordinary = EncodedLog.batches

    def batches(self: Any, **cursor: Any) -> Any:
        if not cursor["shuffle"] and watcher.steps[-1] == step:
            signal.raise_signal(signal.SIGTERM)
        return ordinary(self, **cursor)

    with monkeypatch.context() as patch:
        patch.setattr(EncodedLog, "batches", batches)
        with pytest.raises(InterruptedRun, match=f"after step {step} of"):
            train(config(**SETTINGS), whole[0], tmp_path, observer=watcher)
    evaluated = [r.step for r in watcher.records if isinstance(r, EvaluationRecord)]
    assert step not in evaluated
    assert resumes_to_the_same(whole, tmp_path)


def test_after_the_last_evaluation_the_run_is_finished_but_says_it_was_stopped(
    whole: tuple[Prepared, TrainResult, Path], tmp_path: Path
) -> None:
    watcher = Signaller(STEPS, at_evaluation=True)
    with pytest.raises(InterruptedRun, match="SIGINT after step 20 of 20"):
        train(config(**SETTINGS), whole[0], tmp_path, observer=watcher)
    assert resumes_to_the_same(whole, tmp_path)


def test_before_the_first_step_nothing_is_left_to_resume(
    whole: tuple[Prepared, TrainResult, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = RankingModel.__init__

    def slow(self: RankingModel, *args: Any, **kwargs: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        build(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(RankingModel, "__init__", slow)
        with pytest.raises(InterruptedRun, match=r"after step 0 of 20; nothing was done yet"):
            train(config(**SETTINGS), whole[0], tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    train(config(**SETTINGS), whole[0], tmp_path)
