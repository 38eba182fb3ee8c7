"""Responses: what users would do with every candidate, and what they did with what they saw.

Causes are linear in the traits of user, item and context and are logits before their intercept.
The intercepts make the configured rates come true: ``calibrate`` finds them on pilot requests.

R requests, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from polyrank.simulation.config import FeedConfig
from polyrank.simulation.items import Items
from polyrank.simulation.requests import Fate, Requests
from polyrank.simulation.users import Users

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MAX_WATCH_TIME_S = 86_400.0
"""No view is longer than a day."""
_QUALITY_SHARE = 0.35
"""Share of the variance of relevance and appeal that all users agree on."""
_SURFACE_CLICK = np.array([0.0, -0.3, 0.3])
_EVENING_LONG_VIEW = 0.25
_FRESHNESS_CLICK = 0.1
_BISECTIONS = 80
_MOST_LOGIT = 500.0


@dataclass(frozen=True)
class Causes:
    """What drives each response to each candidate; all (R, K), before any intercept."""

    relevance: FloatArray
    """Affinity of user and item and the item's quality; variance 1 over the catalogue."""
    appeal: FloatArray
    """What is clicked, clickbait included."""
    clickbait: FloatArray
    satisfaction: FloatArray
    """Relevance less clickbait."""
    click: FloatArray
    long_view: FloatArray
    like: FloatArray
    purchase: FloatArray
    """Given a long view."""
    report: FloatArray
    log_length: FloatArray


@dataclass(frozen=True)
class Intercepts:
    """Logits of the mean candidate, fitted to the configured rates."""

    click: float
    long_view: float
    purchase: float
    like: float
    report: float


@dataclass(frozen=True)
class Truth:
    """Probabilities over **all** candidates, clicked or not; all (R, K), independent of position.

    ``click`` is given examination, the others are given a click. ``watch_time_s`` is the
    expectation given a click.
    """

    satisfaction: FloatArray
    click: FloatArray
    long_view: FloatArray
    purchase: FloatArray
    like: FloatArray
    report: FloatArray
    watch_time_s: FloatArray


@dataclass(frozen=True)
class Labels:
    """What happened; all (R, K). Only ``click`` means something where there was no click."""

    click: BoolArray
    long_view: BoolArray
    purchase: BoolArray
    like: BoolArray
    report: BoolArray
    watch_time_s: FloatArray


def sigmoid(logits: FloatArray) -> FloatArray:
    """1 / (1 + exp(-logits)); finite for every logit a feed can have (below 700)."""
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def find_causes(config: FeedConfig, users: Users, items: Items, requests: Requests) -> Causes:
    """What drives the responses of the users of ``requests`` to their candidates."""
    user_R1, item_RK = requests.user_R[:, None], requests.item_RK
    bait = config.clickbait_strength * items.clickbait_N[item_RK]
    latent_RKD = items.latent_ND[item_RK]
    relevance = _affinity(users.relevance_taste_UD[requests.user_R], latent_RKD)
    relevance += np.sqrt(_QUALITY_SHARE) * items.quality_N[item_RK]
    appeal = _affinity(users.appeal_taste_UD[requests.user_R], latent_RKD) + bait
    appeal += np.sqrt(_QUALITY_SHARE) * items.appeal_quality_N[item_RK]
    satisfaction = relevance - bait
    scale = config.signal
    evening_R1 = (requests.hour_R >= 18)[:, None]
    return Causes(
        relevance=relevance,
        appeal=appeal,
        clickbait=items.clickbait_N[item_RK],
        satisfaction=satisfaction,
        click=scale
        * (
            appeal
            + users.click_bias_U[user_R1]
            + _SURFACE_CLICK[requests.surface_R][:, None]
            + _FRESHNESS_CLICK * items.freshness_N[item_RK]
        ),
        long_view=scale * (satisfaction + _EVENING_LONG_VIEW * evening_R1),
        like=scale * (0.8 * satisfaction + users.like_bias_U[user_R1]),
        purchase=scale
        * (0.5 * satisfaction + 0.5 * items.intent_N[item_RK] + users.purchase_bias_U[user_R1]),
        report=-0.8 * scale * satisfaction,
        log_length=items.log_length_N[item_RK],
    )


def _affinity(taste_RD: FloatArray, latent_RKD: FloatArray) -> FloatArray:
    """Inner products whose variance over the catalogue is one less the share of quality."""
    return np.asarray(np.sqrt(1 - _QUALITY_SHARE) * np.einsum("rd,rkd->rk", taste_RD, latent_RKD))


def find_truth(config: FeedConfig, causes: Causes, intercepts: Intercepts) -> Truth:
    """Probabilities of every response.

    Watch time is log-logistic: its median given a click is ``median_watch_time_s`` times
    length**length_effect times exp(watch_noise * long-view cause), and its mean is the median over
    sinc(watch_noise).
    """
    long_view = sigmoid(intercepts.long_view + causes.long_view)
    return Truth(
        satisfaction=sigmoid(config.signal * causes.satisfaction),
        click=sigmoid(intercepts.click + causes.click),
        long_view=long_view,
        purchase=long_view * sigmoid(intercepts.purchase + causes.purchase),
        like=sigmoid(intercepts.like + causes.like),
        report=sigmoid(intercepts.report + causes.report),
        watch_time_s=_median_watch_time(config, causes) / np.sinc(config.watch_noise),
    )


def _median_watch_time(config: FeedConfig, causes: Causes) -> FloatArray:
    log_ratio = config.length_effect * causes.log_length + config.watch_noise * causes.long_view
    return np.asarray(config.median_watch_time_s * np.exp(log_ratio))


def watched_less(config: FeedConfig, causes: Causes, seconds: float) -> FloatArray:
    """P(watch time < ``seconds`` | click): log-logistic, with the scale ``watch_noise``."""
    surprise = np.log(seconds / _median_watch_time(config, causes)) / config.watch_noise
    return sigmoid(np.clip(surprise, -_MOST_LOGIT, _MOST_LOGIT))


def respond(
    config: FeedConfig, causes: Causes, truth: Truth, examination: FloatArray, fate: Fate
) -> Labels:
    """What happens where each candidate is examined with probability ``examination`` (R, K).

    A view is long where its watch time exceeds a limit that grows with the video's length as watch
    time does: one draw decides both, so a long view tells of satisfaction, watch time of
    satisfaction and length.
    """
    surprise = np.log(fate.watch_RK / (1.0 - fate.watch_RK))
    watch_time_s = _median_watch_time(config, causes) * np.exp(config.watch_noise * surprise)
    long_view = fate.watch_RK > 1.0 - truth.long_view
    return Labels(
        click=fate.click_RK < examination * truth.click,
        long_view=long_view,
        purchase=long_view & (fate.purchase_RK < truth.purchase / truth.long_view),
        like=fate.like_RK < truth.like,
        report=fate.report_RK < truth.report,
        watch_time_s=np.minimum(watch_time_s, MAX_WATCH_TIME_S),
    )


def calibrate(config: FeedConfig, causes: Causes, examination: FloatArray) -> Intercepts:
    """Intercepts under which the expected rates over these candidates are the configured ones."""
    click = solve_intercept(causes.click, examination, config.click_rate * examination.size)
    click_weight = examination * sigmoid(click + causes.click)
    num_clicks = float(click_weight.sum())
    long_view = solve_intercept(causes.long_view, click_weight, config.long_view_rate * num_clicks)
    long_weight = click_weight * sigmoid(long_view + causes.long_view)
    return Intercepts(
        click=click,
        long_view=long_view,
        purchase=solve_intercept(causes.purchase, long_weight, config.purchase_rate * num_clicks),
        like=solve_intercept(causes.like, click_weight, config.like_rate * num_clicks),
        report=solve_intercept(causes.report, click_weight, config.report_rate * num_clicks),
    )


def solve_intercept(logits: FloatArray, weights: FloatArray, target: float) -> float:
    """The c with sum(weights * sigmoid(c + logits)) = target, by bisection.

    Args:
        logits: Any finite numbers.
        weights: At least 0.
        target: Above 0, below the sum of the weights.
    """
    low, high = -50.0 - float(logits.max()), 50.0 - float(logits.min())
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if float((weights * sigmoid(middle + logits)).sum()) < target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
