"""Rankings drawn with known chances, so that a log tells what other rankings would have earned.

Shapes: N candidates, K answered.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from polyrank.errors import ConfigError, suggest
from polyrank.fusion.off_policy import Lists, PlackettLuce, WeightJitter
from polyrank.schema import Declared
from polyrank.scoring import Order, drawn_from, tuned, weights_of
from polyrank.serving.models import Catalog
from polyrank.serving.ranking import Ranked, refusals

Floats = NDArray[np.float64]


class Exploration(Declared):
    """How the ranking of a request is drawn: a function of the settings and of the draw, a name of
    the server's own. A request's id would not do: clients choose it, and one id for all requests
    would give all of them the same noise."""

    @abstractmethod
    def order(self, order: Order, draw: str) -> Order:
        """What ranks the request."""

    @abstractmethod
    def listed(self, ranked: Ranked, draw: str) -> tuple[Ranked, Floats]:
        """The list as it is shown, and (N,) the chance of each candidate at its place given those
        above it; NaN: unknown."""

    @abstractmethod
    def told(self, order: Order) -> str:
        """What was drawn from, as JSON; ``order`` is the one before anything was drawn."""

    @abstractmethod
    def answered(self, order: Order) -> dict[str, Any]:
        """What the client is told; ``order`` is the one that ranked."""


class DrawnWeights(Exploration):
    """Each weight of the value model is drawn around what is in force; see ``WeightJitter``."""

    kind: Literal["weights"]
    scale: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Half the width of a weight's range, in units of the weight."""
    seed: int = 0
    """Other seeds draw other weights."""

    def order(self, order: Order, draw: str) -> Order:
        """With weights of the draw's own."""
        return tuned(order, self._jitter.draw(weights_of(order), draw))

    def listed(self, ranked: Ranked, draw: str) -> tuple[Ranked, Floats]:
        """As the weights rank it; what other draws would have put where is not known."""
        return ranked, np.full(len(ranked.position_N), np.nan)

    def told(self, order: Order) -> str:
        """Centre and scale."""
        return drawn_from(weights_of(order), self._jitter)

    def answered(self, order: Order) -> dict[str, Any]:
        """The weights."""
        return {"weights": weights_of(order)}

    @property
    def _jitter(self) -> WeightJitter:
        return WeightJitter(scale=self.scale, seed=self.seed)


class DrawnList(Exploration):
    """Scores get Gumbel noise: any order has a known chance (Plackett-Luce)."""

    kind: Literal["list"]
    temperature: Annotated[float, Field(gt=0, le=100)] = 0.5
    """Scale of the noise, in standard deviations of the score within the request."""
    seed: int = 0
    """Other seeds draw other lists."""

    def order(self, order: Order, draw: str) -> Order:
        """The same."""
        return order

    def listed(self, ranked: Ranked, draw: str) -> tuple[Ranked, Floats]:
        """In the order of the score with noise."""
        best_N, chance_N = drawn_list(
            ranked.scored.score_N, self.temperature, _random(self.seed, draw)
        )
        position_N = _places(best_N)
        order_K = best_N[: len(ranked.order_K)]
        return dataclasses.replace(ranked, order_K=order_K, position_N=position_N), chance_N

    def told(self, order: Order) -> str:
        """The temperature."""
        return json.dumps({"temperature": self.temperature})

    def answered(self, order: Order) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.temperature}


AnyExploration = Annotated[DrawnWeights | DrawnList, Field(discriminator="kind")]
EXPLORE = "explore"
_logger = logging.getLogger("polyrank.serving")
Explored = Mapping[str, Mapping[str, AnyExploration]]
"""By model, then by profile."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Listed:
    """A ranking and the chances of it."""

    ranked: Ranked
    order: Order
    """What ranked, with the weights that were drawn."""
    propensity_N: Floats | None = None
    """As in ``Exploration.listed``; null: nothing was drawn."""
    drawn: str | None = None
    """As in ``Exploration.told``."""
    answered: dict[str, Any] | None = None
    """As in ``Exploration.answered``."""


def listed(
    rank: Callable[[Order], Ranked],
    order: Order,
    exploration: Exploration | None,
    draw: str,
) -> Listed:
    """A request's list, drawn if it is to be.

    Args:
        rank: Ranks the request.
        order: By what, before anything is drawn.
        exploration: How it is drawn; null: it is not.
        draw: Its draw, logged as ``served_draw``.

    Raises:
        RequestError: As ``rank``; or weights cannot be drawn around those of the order.
    """
    if exploration is None:
        return Listed(ranked=rank(order), order=order)
    with refusals():
        own = exploration.order(order, draw)
    ranked, chance_N = exploration.listed(rank(own), draw)
    return Listed(
        ranked=ranked,
        order=own,
        propensity_N=chance_N,
        drawn=exploration.told(order),
        answered=exploration.answered(own),
    )


def drawn_list(
    score_N: Floats, temperature: float, random: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """One request's candidates in the order of their scores with Gumbel noise.

    Args:
        score_N: The scores.
        temperature: Scale of the noise, in standard deviations of the score.
        random: Where noise comes from.

    Returns:
        (N,) the candidates' places in ``score_N``, best first, and (N,) the chance of each
        candidate at its place given those above it.
    """
    one_N = np.zeros(len(score_N), dtype=np.int64)
    any_order = Lists.of(one_N, np.arange(1.0, len(score_N) + 1))
    utility_N = PlackettLuce(temperature=temperature).utilities(any_order, score_N)
    best_N = np.argsort(-(utility_N + random.gumbel(size=len(score_N))), kind="stable")
    drawn = Lists.of(one_N, _places(best_N).astype(np.float64))
    return best_N, np.exp(drawn.log_chances(utility_N))


def _places(best_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the rank of each candidate, from 1."""
    position_N = np.empty(len(best_N), dtype=np.int64)
    position_N[best_N] = np.arange(1, len(best_N) + 1)
    return position_N


def check_explored(explored: Explored, models: Collection[str], *, is_logged: bool) -> None:
    """Refuse to draw for nothing.

    Raises:
        ConfigError: A model is not served, or nothing is logged.
    """
    for name in explored:
        if name not in models:
            told = f"rankings of model {name!r} are drawn, which is not served"
            raise ConfigError(told, where=EXPLORE, hint=suggest(name, models))
    if explored and not is_logged:
        raise ConfigError(
            "rankings are drawn so that a log tells of others, and nothing is logged",
            where=EXPLORE,
            hint="Add `predictions: {folder: ...}` (--log FOLDER).",
        )


def tell_of_unknown(explored: Explored, catalog: Catalog) -> None:
    """Say which profiles are to be drawn that no model has yet: they may come by the operator, or
    be misspelt."""
    for model, profiles in explored.items():
        known = catalog.take(model).profiles
        for name in profiles:
            if name not in known:
                told = "%s: model %r has no profile %r so far, so nothing is drawn of it. %s"
                _logger.warning(told, EXPLORE, model, name, suggest(name, known))


def _random(seed: int, draw: str) -> np.random.Generator:
    address = json.dumps([seed, draw]).encode()
    digest = hashlib.blake2b(address, digest_size=16, person=b"drawn-list").digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
