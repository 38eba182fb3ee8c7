from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from polyrank.errors import ConfigError
from polyrank.schema import parse
from polyrank.simulation import FeedConfig, default_feed_config
from polyrank.simulation.examination import examination_curve


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"num_users": 0}, "num_users"),
        ({"days": 0}, "days"),
        ({"watch_noise": 0.5}, "watch_noise"),
        ({"satisfaction_appeal_correlation": 1.1}, "satisfaction_appeal_correlation"),
        ({"signal": float("nan")}, "signal"),
        ({"click_rate": 0.0}, "click_rate"),
        ({"num_items": 31}, "`num_items` must be at least 32 .* got 31; raise it"),
        ({"num_items": 99, "candidates_per_request": 100}, "at least 100 .* got 99"),
        ({"latent_dim": 8, "num_items": 40}, "at least 48 .* got 40"),
        ({"start": datetime.date(1969, 12, 31)}, "`start` must be from .* got 1969-12-31"),
        ({"click_rate": 0.51}, "below the mean examination 0.5021, got 0.51; lower it"),
        ({"purchase_rate": 0.4}, "below `long_view_rate` 0.4, got 0.4; lower it"),
        ({"ranking_noise": 0.001}, "`ranking_noise` must be 0 or at least 0.01, got 0.001"),
        ({"clickbait": 1.0}, "clickbait"),
    ],
)
def test_a_bad_parameter_is_refused_by_name_rule_and_value(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        FeedConfig(**parameters)


def test_all_faults_across_parameters_come_at_once() -> None:
    with pytest.raises(ConfigError, match=r"num_items.*click_rate.*purchase_rate"):
        FeedConfig(num_items=10, click_rate=0.9, purchase_rate=0.5)


def test_a_misspelt_parameter_is_a_config_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'clickbait_strength'"):
        parse(FeedConfig, {"clickbait_strenght": 1.0})


def test_a_config_is_frozen_and_survives_json() -> None:
    config = FeedConfig(seed=3, start=datetime.date(2026, 2, 1), signal=1.25)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 4  # type: ignore[misc]
    assert FeedConfig.model_validate_json(config.model_dump_json()) == config


def test_the_default_config_is_the_defaults() -> None:
    assert default_feed_config() == FeedConfig()
    assert default_feed_config(seed=5) == FeedConfig(seed=5)


def test_every_field_is_documented() -> None:
    source = FeedConfig.__module__
    import importlib
    import inspect

    text = inspect.getsource(importlib.import_module(source))
    for name in FeedConfig.model_fields:
        after = text.split(f"    {name}: ", 1)[1].split("\n", 1)[1]
        assert after.lstrip().startswith('"""'), name


@pytest.mark.parametrize(
    ("power", "floor", "expected"),
    [
        (1.0, 0.0, [1.0, 1 / 2, 1 / 3]),
        (2.0, 0.2, [1.0, 0.4, 0.2 + 0.8 / 9]),
        (0.0, 0.0, [1.0, 1.0, 1.0]),
        (5.0, 1.0, [1.0, 1.0, 1.0]),
    ],
)
def test_the_examination_curve_by_hand(power: float, floor: float, expected: list[float]) -> None:
    np.testing.assert_allclose(examination_curve(3, power, floor), expected, rtol=1e-12)
    config = FeedConfig(
        candidates_per_request=3,
        examination_power=power,
        examination_floor=floor,
        click_rate=0.1,
    )
    assert config.mean_examination == pytest.approx(np.mean(expected), rel=1e-12)
