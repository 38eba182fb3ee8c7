"""What changes a model without a new bundle: value models, which version answers, comparing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from polyrank.errors import ConfigError, DataError, StorageError
from polyrank.fusion import Demotion, ValueModel, parse_value_model
from polyrank.scoring import Order
from polyrank.serving.errors import RequestError
from polyrank.serving.models.gate import Admitted
from polyrank.serving.models.history import Changes, Profile
from polyrank.serving.models.profiles import check_fits
from polyrank.serving.models.rules import WHERE, check_rules
from polyrank.serving.models.served import Served
from polyrank.serving.models.settings import ValueRules
from polyrank.serving.models.shadowing import Mode, Shadowing
from polyrank.serving.models.shelf import Shelf
from polyrank.serving.models.sources import NAME

MAX_BY = 200
Fits: TypeAlias = Callable[[Served, Order], None]
"""Raises a ``ConfigError`` where an order may not be set for a version."""


def anything_fits(_: Served, __: Order) -> None:
    """Where nothing else depends on what value models read."""


def set_value_model(
    shelf: Shelf,
    profile: str,
    tree: Mapping[str, Any],
    *,
    by: str,
    expected_version: int | None,
    fits: Fits = anything_fits,
) -> Served:
    """Rank a profile by another value model from now on; see ``Catalog.set_value_model``."""
    if not NAME.fullmatch(profile):
        raise RequestError(400, f"a profile cannot be named {profile[:64]!a}")

    def how(changes: Changes) -> Changes:
        history = changes.profiles.get(profile, Profile())
        _check_expected(profile, history, expected_version)
        most = shelf.settings.rules.max_profiles
        if profile not in changes.profiles and len(changes.profiles) >= most:
            raise ConfigError(f"there are {most} profiles already", hint="Set one of them.")
        extended = history.extended(model, demotion, by[:MAX_BY])
        return changes.with_profile(profile, extended)

    try:
        model, demotion = read_value_model(tree, shelf.settings.rules)
        with shelf.swap:
            line = shelf.serving()
            order = _order(line.serving, model, demotion)
            check_fits(line.serving.bundle, order, line.versions[line.default].predictions)
            _check_also(line.serving, order, fits)
            return _changed(shelf, how)
    except (ConfigError, DataError) as error:
        raise RequestError(400, str(error)) from error


def tried(served: Served, tree: Mapping[str, Any], rules: ValueRules) -> Order:
    """What ranks one request by a value model that it brings; see ``Catalog.tried``."""
    try:
        model, demotion = read_value_model(tree, rules)
        model.check(served.bundle.schema.task_names)
    except ConfigError as error:
        raise RequestError(400, str(error)) from error
    return _order(served, model, demotion)


def read_value_model(
    tree: Mapping[str, Any], rules: ValueRules
) -> tuple[ValueModel, Demotion | None]:
    """A value model within the declared bounds, whoever gives it.

    Raises:
        ConfigError: It is none, or out of bounds.
    """
    model, demotion = parse_value_model(tree, where=WHERE)
    check_rules(model, demotion, rules)
    return model, demotion


def roll_back(
    shelf: Shelf, profile: str, *, expected_version: int | None, fits: Fits = anything_fits
) -> Served:
    """Rank a profile as before; see ``Catalog.rollback``."""

    def how(changes: Changes) -> Changes:
        history = changes.profile(profile)
        _check_expected(profile, history, expected_version)
        back = history.rolled_back()
        if (found := back.in_force) is not None:
            served = shelf.serving().serving
            _check_also(served, _order(served, found.model, found.demotion), fits)
        return changes.with_profile(profile, back)

    try:
        with shelf.swap:
            return _changed(shelf, how)
    except ConfigError as error:
        raise RequestError(400, str(error)) from error


def pin(shelf: Shelf, version: str | None) -> Served:
    """Answer by one version, or by the newest; see ``Catalog.pin``."""
    if version is not None and shelf.source.kind != "versions":
        raise RequestError(400, f"model {shelf.name!r} is one bundle, not a folder of them")
    fetched = {} if version is None else shelf.fetch(version)
    with shelf.swap:
        if version is not None and version not in fetched:
            shelf.serving().take(version, None)
        return _changed(shelf, lambda changes: changes.with_pinned(version), fetched)


def shadow(shelf: Shelf, version: str, share: float, mode: Mode) -> Shadowing:
    """Compare a version with the one that answers; see ``Catalog.shadow``."""
    with shelf.swap:
        line = shelf.serving()
        found = Shadowing.start(
            line.serving, line.take(version, None), share, mode, shelf.settings.shadow_queue
        )
        shelf.compare(found)
        return found


def cancel(shelf: Shelf) -> dict[str, Any]:
    """Compare no more; see ``Catalog.cancel``."""
    with shelf.swap:
        found = shelf.serving().shadow
        if found is None:
            raise RequestError(404, f"nothing is compared for model {shelf.name!r}")
        shelf.compare(None)
        return found.summary()


def promote(shelf: Shelf) -> dict[str, Any]:
    """Answer by the second version; see ``Catalog.promote``."""
    with shelf.swap:
        found = shelf.serving().shadow
        if found is None:
            raise RequestError(404, f"nothing is compared for model {shelf.name!r}")
        pin(shelf, found.second.version)
        return found.summary()


def _changed(
    shelf: Shelf,
    how: Callable[[Changes], Changes],
    further: Mapping[str, Admitted] | None = None,
) -> Served:
    """Keep a change, then swap it in: what was answered for is never lost."""
    shelf.serving()
    try:
        shelf.apply(shelf.store.change(how), further)
    except StorageError as error:
        told = "the change could not be kept, so all is as before: see the server's log"
        raise RequestError(503, told, retry_after=10) from error
    return shelf.serving().serving


def _order(served: Served, model: ValueModel, demotion: Demotion | None) -> Order:
    return Order(schema=served.bundle.schema, model=model, demotion=demotion)


def _check_also(served: Served, order: Order, fits: Fits) -> None:
    try:
        fits(served, order)
    except ConfigError as error:
        where = f"{WHERE}: {error.where}" if error.where else WHERE
        raise ConfigError(error.message, where=where, hint=error.hint) from error


def _check_expected(profile: str, history: Profile, expected: int | None) -> None:
    if expected is not None and expected != history.current:
        raise RequestError(
            409, f"profile {profile!r} is at version {history.current}, not {expected}: look again"
        )
