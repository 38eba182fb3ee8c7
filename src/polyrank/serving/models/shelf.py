"""One model: where its versions come from, which are loaded, and what changes them.

Readers take no lock: they read one reference. Reloads run one at a time; what is swapped in, by
them or by a change of value models, is swapped in under one lock, which is never held while a
bundle is loaded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polyrank.errors import ConfigError, PolyrankError
from polyrank.serving.errors import RequestError
from polyrank.serving.models.failures import FAILURES
from polyrank.serving.models.gate import Admitted, Gate
from polyrank.serving.models.history import Changes
from polyrank.serving.models.line import Line
from polyrank.serving.models.memory import give_back
from polyrank.serving.models.served import Served
from polyrank.serving.models.settings import CatalogSettings
from polyrank.serving.models.shadowing import Shadowing
from polyrank.serving.models.sources import Found, Source, age
from polyrank.serving.models.store import ChangeStore

log = logging.getLogger("polyrank.serving")


def nothing_more(_: Served) -> None:
    """Where the gate alone decides."""


@dataclass(frozen=True)
class Refusal:
    """A version that may not serve."""

    reason: str
    at: str
    content: str
    files: str


@dataclass(frozen=True, kw_only=True)
class Reloaded:
    """What a look at the source led to."""

    version: str | None
    """What serves now; null: nothing yet."""
    admitted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By new version, the gate's report."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """By version, why not."""


class Shelf:
    """One model.

    Args:
        name: Under which it is served.
        path: Of a bundle, a pointer to one, or a folder of versions.
        gate: Lets versions in.
        settings: How they are kept.
        also: As of ``Catalog``.

    Raises:
        ConfigError: The path is no folder.
        ArtefactError: Of the value models that were set, every snapshot is damaged.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        gate: Gate,
        settings: CatalogSettings,
        also: Callable[[Served], None] = nothing_more,
    ) -> None:
        self.name = name
        self._gate, self.settings, self._also = gate, settings, also
        self.source = Source.of(path)
        self._records = self.source.beside("rows")
        self.store = ChangeStore(self.source.beside("values"))
        self.line: Line | None = None
        self.swap = threading.RLock()
        self._reloading = threading.Lock()
        self._refused: dict[str, Refusal] = {}
        self._last_refusal: dict[str, str] | None = None
        self._last_reload: dict[str, Any] = {}
        self._seen: tuple[Found, ...] | None = None
        self._watch_notice: str | None = None

    def watch(self) -> None:
        """``look``; why that came to nothing is kept for ``status`` until a look does better."""
        try:
            self.look()
        except RequestError:  # it is being reloaded: the next look sees what came of it
            return
        except FAILURES as error:
            told = _told(error)
            if told != self._watch_notice:
                log.warning("model %s: nothing can be looked for: %s", self.name, told)
            self._watch_notice = told
        else:
            self._watch_notice = None

    def look(self) -> None:
        """Take over what others set; reload if what lies there, or is loaded, is not what it was
        or should be."""
        with self.swap:
            before = self.store.current
            if self.store.refresh() is not before:
                self.apply(self.store.current)
        if self.source.look() != self._seen or self._is_amiss():
            self.reload(again=False)

    def reload(self, *, again: bool = True) -> Reloaded:
        """Let in what is new; when it returns, no request is answered by what it replaced.

        Args:
            again: Whether to try what was refused already and has not changed.

        Raises:
            RequestError: 409, a reload is running.
        """
        with self._alone():
            reloaded = self._reload(again)
            give_back()
            return reloaded

    def fetch(self, version: str) -> Mapping[str, Admitted]:
        """A version that lies in the folder and is not loaded, through the gate; none: it is.

        Raises:
            RequestError: 400, it may not serve, and why; 404, it is not there; 409, a reload is
                running.
        """
        if version in self.serving().versions:
            return {}
        with self._alone():
            for found in self.source.look():
                if found.label == version:
                    outcome = self._tried(found, version, again=True)
                    if isinstance(outcome, Refusal):
                        raise RequestError(400, f"{version!a} may not serve: {outcome.reason}")
                    return {version: outcome}
        raise RequestError(404, f"there is no version {version[:64]!a} of this model")

    def apply(self, changes: Changes, further: Mapping[str, Admitted] | None = None) -> None:
        """Swap in what is in force, and further versions; the lock is held."""
        if self.line is not None:
            versions = {**(further or {}), **self.line.versions}
            self.line = self._lined(versions, self.line.shadow, changes)

    def compare(self, shadow: Shadowing | None) -> None:
        """Swap in what is compared, or nothing; the lock is held."""
        line = self.serving()
        if line.shadow is not None:
            line.shadow.close()
        self.line = replace(line, shadow=shadow)

    def serving(self) -> Line:
        """What answers.

        Raises:
            RequestError: 503, nothing is loaded yet.
        """
        line = self.line
        if line is None:
            raise RequestError(503, f"model {self.name!r} is not loaded", retry_after=1)
        return line

    def status(self) -> dict[str, Any]:
        """As JSON values: for operators, not for clients."""
        line = self.line
        told: dict[str, Any] = {
            "ready": line is not None,
            "reloading": self._reloading.locked(),
            "last_reload": self._last_reload,
            "last_refusal": self._last_refusal,
            "refused": {name: each.reason for name, each in sorted(self._refused.items())},
            "notices": list(self.store.notices),
            "watch_notice": self._watch_notice,
            "pinned": self.store.current.pinned,
        }
        if line is not None:
            told |= {
                "serving": line.default,
                "versions": sorted(line.versions, key=age),
                "values": dict(line.serving.values),
                "unfit": dict(line.serving.unfit),
                "shadow": line.shadow.summary() if line.shadow else None,
            }
        return told

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._reloading.acquire(blocking=False):
            raise RequestError(409, f"model {self.name!r} is being reloaded: try again after that")
        try:
            yield
        finally:
            self._reloading.release()

    def _reload(self, again: bool) -> Reloaded:
        began = datetime.now(UTC)
        found = self.source.look()
        kept, reports, refused = self._kept(found, again)
        if kept:
            self._swap_in(kept)
        self._seen = found
        names = {each.label for each in found}
        self._refused = {name: each for name, each in self._refused.items() if name in names}
        line = self.line
        self._last_reload = {
            "at": began.isoformat(timespec="milliseconds"),
            "admitted": reports,
            "refused": refused,
        }
        return Reloaded(
            version=None if line is None else line.default, admitted=reports, refused=refused
        )

    def _kept(
        self, found: tuple[Found, ...], again: bool
    ) -> tuple[dict[str, Admitted], dict[str, Mapping[str, Any]], dict[str, str]]:
        """The versions to have, the reports of new ones, and why others are refused."""
        loaded = {} if self.line is None else dict(self.line.versions)
        kept: dict[str, Admitted] = {}
        reports: dict[str, Mapping[str, Any]] = {}
        refused: dict[str, str] = {}
        wanted = self.settings.keep if self.source.kind == "versions" else 1
        held = self._held()
        for each in found:
            label = each.label
            if len(kept) >= wanted and label not in held:
                continue
            before = loaded.get(label)
            if before is None or before.files != each.files:
                outcome = self._tried(each, label, again)
                if isinstance(outcome, Refusal):
                    refused[label] = outcome.reason
                elif before is not None and before.served.content == outcome.served.content:
                    before = replace(before, files=outcome.files)
                else:
                    before, reports[label] = outcome, outcome.report
            if before is not None:
                kept[before.served.version] = before
        if self.source.kind == "bundle" and not kept:
            return loaded, reports, refused
        return kept, reports, refused

    def _is_amiss(self) -> bool:
        """Whether a version that another server pinned is not loaded, or more are than are kept."""
        line, pinned = self.line, self.store.current.pinned
        if line is None or self.source.kind != "versions":
            return False
        labels = {each.label for each in self._seen or ()}
        lacking = pinned in labels and pinned not in {*line.versions, *self._refused}
        return lacking or len((line.versions.keys() & labels) - self._held()) > self.settings.keep

    def _held(self) -> set[str]:
        """Versions that are kept however old they are: pinned, or compared."""
        held = {self.store.current.pinned} if self.store.current.pinned else set()
        if self.line is not None and self.line.shadow is not None:
            held |= {self.line.shadow.primary.version, self.line.shadow.second.version}
        return held

    def _tried(self, found: Found, label: str, again: bool) -> Admitted | Refusal:
        known = self._refused.get(label)
        if known and not again and (known.content, known.files) == (found.content, found.files):
            return known
        serving = None if self.line is None else self.line.serving
        admitted: Admitted | None = None
        try:
            admitted = self._gate.admit(self.name, found, self._records, serving)
            self._also(admitted.served)
        except FAILURES as error:
            if admitted and serving is None and isinstance(error, ConfigError):
                raise  # nothing serves yet: a mistake in the settings, not in the version
            reason = _told(error).replace(f"{found.path}: ", "")
            log.warning("model %s: version %s may not serve: %s", self.name, label, reason)
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._refused[label] = Refusal(reason, at, found.content, found.files)
            self._last_refusal = {"version": label, "reason": reason, "at": at}
            return self._refused[label]
        self._refused.pop(label, None)
        return admitted

    def _swap_in(self, versions: Mapping[str, Admitted]) -> None:
        """What was pinned or is compared since the reload began stays beside them."""
        with self.swap:
            shadow, loaded = None, dict[str, Admitted]()
            if self.line is not None:
                shadow, held = self.line.shadow, self._held()
                loaded = {name: each for name, each in self.line.versions.items() if name in held}
            self.line = self._lined({**loaded, **versions}, shadow, self.store.current)

    def _lined(
        self, versions: Mapping[str, Admitted], shadow: Shadowing | None, changes: Changes
    ) -> Line:
        pinned = changes.pinned if self.source.kind == "versions" else None
        default = pinned if pinned is not None and pinned in versions else max(versions, key=age)
        return Line(default=default, versions=versions, shadow=shadow).under(changes)


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, PolyrankError | RequestError) else f"{error!r}"
