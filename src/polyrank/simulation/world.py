"""The world behind a log: a population, a catalogue, and how one answers to the other.

An experiment takes the same steps as the log: requests, what drives them, a ranking (any ranking),
the responses.

R requests of a block, K candidates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from polyrank.simulation.config import FeedConfig
from polyrank.simulation.examination import examination_curve
from polyrank.simulation.items import build_items
from polyrank.simulation.ranking import Ranking, rank_candidates
from polyrank.simulation.requests import Requests, draw_requests
from polyrank.simulation.responses import (
    Causes,
    Intercepts,
    Labels,
    Truth,
    calibrate,
    find_causes,
    find_truth,
    respond,
    watched_less,
)
from polyrank.simulation.streams import Stream, generator, open_uniform
from polyrank.simulation.users import build_users

_BLOCK_ROWS = 16_384
_PILOT_ROWS = 65_536
_MIN_PILOT_REQUESTS = 200


class World:
    """Users, items, and responses calibrated to the rates of ``config``."""

    def __init__(self, config: FeedConfig) -> None:
        self.config = config
        self.items = build_items(config)
        self.users = build_users(config, self.items)
        self.requests_per_block = max(1, _BLOCK_ROWS // config.candidates_per_request)
        self.examination_K = examination_curve(
            config.candidates_per_request, config.examination_power, config.examination_floor
        )
        self._score_scale = 1.0
        self._intercepts = self._calibrate()

    def requests(self, block: int, num_requests: int) -> Requests:
        """Block ``block`` of a log of ``num_requests`` requests; any of them, in any order."""
        return draw_requests(
            self.config,
            self.users,
            self.items,
            block=block,
            num_drawn=self.requests_per_block,
            num_requests=num_requests,
            stream=Stream.LOG,
        )

    def causes(self, requests: Requests) -> Causes:
        """What drives the response to every candidate."""
        return find_causes(self.config, self.users, self.items, requests)

    def truth(self, causes: Causes) -> Truth:
        """Probability of every response to every candidate."""
        return find_truth(self.config, causes, self._intercepts)

    def logging_ranking(self, requests: Requests, causes: Causes) -> Ranking:
        """The ranking that makes the log: a noisy mixture of appeal and satisfaction."""
        score_RK = _logging_score(self.config, causes) / self._score_scale
        return rank_candidates(score_RK, self.config.ranking_noise, requests.gumbel_RK)

    def examination(self, ranking: Ranking) -> npt.NDArray[np.float64]:
        """Probability that each candidate is examined where ``ranking`` puts it: (R, K)."""
        return np.asarray(self.examination_K[ranking.position_RK - 1])

    def respond(self, requests: Requests, causes: Causes, truth: Truth, ranking: Ranking) -> Labels:
        """What the users do when shown ``ranking``."""
        examination = self.examination(ranking)
        return respond(self.config, causes, truth, examination, requests.fate)

    def watched_less(self, causes: Causes, seconds: float) -> npt.NDArray[np.float64]:
        """P(watch time < ``seconds`` | click) of each candidate: (R, K)."""
        return watched_less(self.config, causes, seconds)

    def purchase_delays(self, block: int, requests: Requests) -> npt.NDArray[np.float64]:
        """Days from the click to the purchase, if there is one, of each candidate: (R, K)."""
        draw_RK = open_uniform(
            generator(self.config.seed, Stream.DELAY, block), requests.item_RK.shape
        )
        mean_RK = self.config.purchase_delay_days * np.exp(
            -self.items.intent_N[requests.item_RK] / 2
        )
        return np.asarray(-np.log(draw_RK) * mean_RK)

    def _calibrate(self) -> Intercepts:
        """Fit the scale of the logging score, then the intercepts, to requests no log contains."""
        num_pilot = max(_MIN_PILOT_REQUESTS, _PILOT_ROWS // self.config.candidates_per_request)
        requests = draw_requests(
            self.config,
            self.users,
            self.items,
            block=0,
            num_drawn=num_pilot,
            num_requests=num_pilot,
            stream=Stream.PILOT,
        )
        causes = self.causes(requests)
        self._score_scale = float(_logging_score(self.config, causes).std()) or 1.0
        examination = self.examination(self.logging_ranking(requests, causes))
        return calibrate(self.config, causes, examination)


def _logging_score(config: FeedConfig, causes: Causes) -> npt.NDArray[np.float64]:
    weight = config.logging_appeal_weight
    return np.asarray(weight * causes.appeal + (1 - weight) * causes.satisfaction)
