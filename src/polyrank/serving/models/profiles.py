"""What orders the candidates of a bundle: its own value model, and those set while serving."""

from __future__ import annotations

from polyrank.bundle import Bundle
from polyrank.errors import ConfigError
from polyrank.scoring import Order
from polyrank.serving.models.checks import check_order
from polyrank.serving.models.history import Changes
from polyrank.serving.models.rows import Predictions
from polyrank.serving.models.served import DEFAULT, Served


def profiled(served: Served, predictions: Predictions, changes: Changes) -> Served:
    """The same version, ordered by what is in force.

    A profile whose value model does not fit the bundle is ordered by the default, and the default
    by the bundle's own; the reason is told.

    Args:
        served: Of any profiles.
        predictions: For the rows that it was tried on.
        changes: What was set.
    """
    own = Order.of(served.bundle)
    profiles, values, unfit = {DEFAULT: own}, {DEFAULT: 0}, {}
    default_first = sorted(changes.profiles, key=lambda name: (name != DEFAULT, name))
    for name in default_first:
        profiles[name], values[name] = profiles[DEFAULT], values[DEFAULT]
        found = changes.profiles[name].in_force
        if found is None:
            continue
        order = Order(schema=own.schema, model=found.model, demotion=found.demotion)
        try:
            check_fits(served.bundle, order, predictions)
        except ConfigError as error:
            unfit[name] = str(error)
        else:
            profiles[name], values[name] = order, found.number
    return served.with_profiles(profiles, values, unfit)


def check_fits(bundle: Bundle, order: Order, predictions: Predictions) -> None:
    """Refuse a value model of tasks that the bundle does not predict, or without finite scores.

    Raises:
        ConfigError: What does not fit.
    """
    assert order.model is not None
    order.model.check(bundle.schema.task_names)
    check_order(order, predictions)
