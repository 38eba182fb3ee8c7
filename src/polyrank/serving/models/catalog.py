"""All models that are served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from polyrank.errors import ArtefactError, ConfigError, suggest
from polyrank.scoring import Order, Scorer
from polyrank.serving.errors import RequestError
from polyrank.serving.models import steering
from polyrank.serving.models.engine import EngineOf, eager
from polyrank.serving.models.gate import Gate
from polyrank.serving.models.gate_process import GateProcess
from polyrank.serving.models.served import DEFAULT, Served
from polyrank.serving.models.settings import CatalogSettings
from polyrank.serving.models.shadowing import Mode, Shadowing
from polyrank.serving.models.shelf import Reloaded, Shelf, nothing_more
from polyrank.serving.models.sources import NAME
from polyrank.serving.models.steering import Fits, anything_fits


class Catalog:
    """Several models, each in one or several versions.

    ``take`` reads one reference and waits for nothing; whatever is loaded, refused or changed
    meanwhile, what was taken stays what it is.

    Args:
        paths: By name of a model: a bundle, which saving replaces by a rename; a symbolic link to
            one; or a folder of bundles, each a version, of which the highest number answers.
        engine_of: A function of a module (or a ``functools.partial`` of one) that makes a bundle's
            engine.
        settings: How versions are let in and kept, and which value models may be set.
        process: Tries new versions, if several catalogs share one; whoever gives it closes it.
        also: Raises a ``PolyrankError`` where a version that passed may not serve for other
            reasons, such as a store that does not fit it.
        fits: Raises a ``ConfigError`` where what would order a version's candidates may not be set
            for other reasons, such as a log that cannot have a column it reads.

    Raises:
        ConfigError: No model, a name that is none, a path that is no folder, or an engine that
            another process could not find.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        *,
        engine_of: EngineOf = eager,
        settings: CatalogSettings | None = None,
        process: GateProcess | None = None,
        also: Callable[[Served], None] = nothing_more,
        fits: Fits = anything_fits,
    ) -> None:
        settings = settings or CatalogSettings()
        for name in paths or [""]:
            if not NAME.fullmatch(name):
                raise ConfigError(
                    f"a model cannot be named {name!r}",
                    hint="Use 1 to 64 of A-Z a-z 0-9 _ . -, not starting with a dot.",
                )
        self._gate = Gate(settings.gate, engine_of, process)
        self._shelves = {
            name: Shelf(name, path, self._gate, settings, also) for name, path in paths.items()
        }
        self._rules, self._fits = settings.rules, fits
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.load()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all models."""
        return tuple(self._shelves)

    def load(self) -> None:
        """Load every model that is not.

        Raises:
            ArtefactError: A model has no version that may serve, and why.
        """
        for name, shelf in self._shelves.items():
            if shelf.line is not None:
                continue
            refused = shelf.reload().refused
            if shelf.line is None:
                told = "; ".join(f"{version}: {why}" for version, why in refused.items())
                raise ArtefactError(told or "there is no version", where=f"model {name}")

    def take(
        self, model: str, version: str | None = None, *, request_id: str | None = None
    ) -> Served:
        """What a request is answered from, whole.

        Args:
            model: Its name.
            version: Its label; null: the one that answers.
            request_id: Decides, without a version, whether a canary answers.

        Raises:
            RequestError: 404, there is no such model or version; 503, it is not loaded yet.
        """
        return self._shelf(model).serving().take(version, request_id)

    def versions(self, model: str) -> list[str]:
        """Those of a model that are loaded, the one that answers first.

        Raises:
            RequestError: 404, there is no such model; 503, it is not loaded yet.
        """
        line = self._shelf(model).serving()
        return sorted(line.versions, key=lambda version: version != line.default)

    def ready(self, model: str | None = None) -> bool:
        """Whether a model, or every one, can be taken."""
        shelves = self._shelves.values() if model is None else [self._shelf(model)]
        return all(shelf.line is not None for shelf in shelves)

    def scorers(self) -> set[Scorer]:
        """Of all versions that are loaded."""
        lines = [shelf.line for shelf in self._shelves.values()]
        kept = (each for line in lines if line is not None for each in line.versions.values())
        return {each.served.scorer for each in kept}

    def describe(self) -> dict[str, Any]:
        """By model: which version answers, and what each one that is loaded is."""
        told = {}
        for name, shelf in self._shelves.items():
            line = shelf.line
            if line is not None:
                versions = {each: kept.served.described() for each, kept in line.versions.items()}
                told[name] = {"serving": line.default, "versions": versions}
        return told

    def status(self) -> dict[str, Any]:
        """By model, for operators: what serves, what was refused and why, what is compared."""
        return {name: shelf.status() for name, shelf in self._shelves.items()}

    def reload(self, model: str) -> Reloaded:
        """Look for new versions and let them in; what was refused is tried again.

        Raises:
            RequestError: 404, there is no such model; 409, it is being reloaded.
        """
        return self._shelf(model).reload()

    def watch(self, interval: float) -> None:
        """Look for changes every so many seconds, in a thread, and reload what changed."""
        if self._watcher is None:
            self._gate.start()
            self._watcher = threading.Thread(
                target=self._watch, args=(interval,), name="watch", daemon=True
            )
            self._watcher.start()

    def close(self) -> None:
        """Watch no more, and end what tries bundles and what compares; ``take`` still answers."""
        self._closed.set()
        self._gate.close()
        if self._watcher is not None:
            self._watcher.join()
        for shelf in self._shelves.values():
            if shelf.line is not None and shelf.line.shadow is not None:
                steering.cancel(shelf)

    def set_value_model(
        self,
        model: str,
        profile: str,
        tree: Mapping[str, Any],
        *,
        by: str,
        expected_version: int | None = None,
    ) -> Served:
        """Rank a profile by another value model from now on, and after a restart, too.

        Args:
            model: The model's name.
            profile: ``default`` or a surface's; one that there is not is made.
            tree: The value model, as ``parse_value_model`` reads it.
            by: Who sets it.
            expected_version: The number of the one in force; null: whatever it is.

        Returns:
            What answers now; its ``values`` tell the number.

        Raises:
            RequestError: 400, it is no value model, out of bounds, has no finite score on the
                rows that the bundle was tried on, or does not fit (``fits``); 404;
                409, another one is in force; 503, it cannot be kept.
        """
        return steering.set_value_model(
            self._shelf(model),
            profile,
            tree,
            by=by,
            expected_version=expected_version,
            fits=self._fits,
        )

    def tried(self, served: Served, tree: Mapping[str, Any]) -> Order:
        """What ranks one request by a value model that it brings, within the same bounds as
        ``set_value_model``.

        Args:
            served: What answers the request.
            tree: The value model, as ``parse_value_model`` reads it.

        Raises:
            RequestError: 400, it is no value model, out of bounds, or of other tasks.
        """
        return steering.tried(served, tree, self._rules)

    def rollback(
        self, model: str, profile: str = DEFAULT, *, expected_version: int | None = None
    ) -> Served:
        """Rank a profile as before its value model was set; none is forgotten.

        Raises:
            RequestError: As ``set_value_model``; 400, there is nothing to roll back to.
        """
        return steering.roll_back(
            self._shelf(model), profile, expected_version=expected_version, fits=self._fits
        )

    def pin(self, model: str, version: str | None) -> Served:
        """Answer by this version of a folder of versions, or by the newest again (null); also after
        a restart, and whatever versions come. One that is not loaded any more passes the gate.

        Raises:
            RequestError: 400, it is no folder of versions, or the version may not serve; 404; 409,
                it would have to be loaded, and a reload is running; 503, it cannot be kept.
        """
        return steering.pin(self._shelf(model), version)

    def shadow(self, model: str, version: str, share: float, mode: Mode = "shadow") -> Shadowing:
        """Compare a loaded version with the one that answers, instead of what was compared before.

        Raises:
            RequestError: 400, the share is not in (0, 1], or the version answers already; 404.
        """
        return steering.shadow(self._shelf(model), version, share, mode)

    def shadowing(self, model: str) -> Shadowing | None:
        """What is compared, if anything."""
        return self._shelf(model).serving().shadow

    def promote(self, model: str) -> dict[str, Any]:
        """Pin the second version of what is compared, and compare no more: versions that come
        later do not answer until ``pin`` says so.

        Returns:
            What the comparison found.

        Raises:
            RequestError: 404, nothing is compared; 503, it cannot be kept.
        """
        return steering.promote(self._shelf(model))

    def cancel(self, model: str) -> dict[str, Any]:
        """Compare no more; what answered goes on.

        Returns:
            What the comparison found.

        Raises:
            RequestError: 404, nothing is compared.
        """
        return steering.cancel(self._shelf(model))

    def _shelf(self, model: str) -> Shelf:
        found = self._shelves.get(model)
        if found is None:
            told = f"there is no model {model[:64]!a}. {suggest(model[:64], self._shelves)}"
            raise RequestError(404, told)
        return found

    def _watch(self, interval: float) -> None:
        while not self._closed.wait(interval):
            for shelf in self._shelves.values():
                shelf.watch()
