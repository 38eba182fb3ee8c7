"""What both searches of Optuna share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from polyrank.errors import ConfigError
from polyrank.fusion.tuning.searches.base import Asking, Floats, Problem, Told

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study


def asking(
    kind: str, problem: Problem, start: Told, batch: int, sampler: Callable[[Any], BaseSampler]
) -> Asking:
    """Batches of trials of an Optuna study in memory, to which the start is told first.

    Args:
        kind: Of the search.
        problem: What is searched.
        start: What the start did.
        batch: Trials that are asked before any of them is told.
        sampler: From Optuna's module of samplers to the sampler.

    Raises:
        ConfigError: Optuna is not installed.
    """
    optuna = _module(kind)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            directions=["maximize"] * len(problem.objectives), sampler=sampler(optuna.samplers)
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    space = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in problem.weights}
    first = dict(zip(problem.weights, problem.start_W.tolist(), strict=True))
    study.enqueue_trial(first)
    _tell(study, [study.ask(space)], start, problem)
    while True:
        trials = [study.ask(space) for _ in range(batch)]
        points = [[trial.params[name] for name in problem.weights] for trial in trials]
        told = yield np.array(points)
        _tell(study, trials, told, problem)


def _tell(study: Study, trials: list[Any], told: Told, problem: Problem) -> None:
    for trial, value_M, slack_J in zip(trials, told.objective_BM, told.slack_BJ, strict=True):
        for name, slack in zip(problem.guardrails, _plain(slack_J), strict=True):
            trial.set_constraint(name, -slack)
        study.tell(trial, _plain(value_M))


def _plain(value: Floats) -> list[float]:
    return [float(each) for each in value]


def _module(kind: str) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            f"{kind} is Optuna's, which is not installed",
            where="search",
            hint="Install the extra: pip install 'polyrank[tune]'; or search by `kind: cem`.",
        ) from error
    return optuna
