"""From a log to encoded batches: fitted once, encoded once, kept for every later run.

The training part is read twice (to fit, to encode; once more where thresholds of long dwells are
fitted), every other part once. What was made is kept
in the cache under the fingerprint of log, side tables, schema, split and ``data.seed``, and used
again where it agrees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from polyrank._version import __version__
from polyrank.config import RunConfig
from polyrank.data import (
    EncodedLog,
    Encoders,
    Ledger,
    Quarantine,
    Reader,
    fit_thresholds,
    load_side_table,
    open_log,
)
from polyrank.data.label_notices import label_notices
from polyrank.data.made import Thresholds
from polyrank.data.matches import match_notices
from polyrank.errors import ArtefactError, ConfigError
from polyrank.storage import (
    Committed,
    FileSource,
    RunLock,
    arrays_writer,
    check_writable,
    commit_directory,
    jsonio,
    open_committed,
)
from polyrank.storage.failures import storage_errors
from polyrank.training.distributed import choose_device, join_processes
from polyrank.training.prepared import Prepared
from polyrank.training.sources import WHOLE, Sources, open_sources
from polyrank.training.spans import Span, Spans
from polyrank.training.unseen import Unseen
from polyrank.training.whole_requests import with_whole_requests

QUARANTINE = "quarantine.parquet"
"""In the run's folder: the refused rows and why."""

Part = Literal["train", "validation", "test"]

_KIND = "prepared"
_ENCODERS, _ARRAYS, _FACTS = "encoders.json", "encoders.safetensors", "facts.json"
_PARTS: tuple[Part, ...] = ("train", "validation", "test")

Report = Callable[[str, int], None]
"""Told what is being done ("fit", "encode train", ...) and how many rows were so far."""


def prepare(
    config: RunConfig,
    sources: Sources | Path,
    run_dir: Path,
    *,
    report: Report | None = None,
    parent: Encoders | None = None,
) -> Prepared:
    """Fit encoders on the training part and encode every part, or open what an earlier run made.

    Where ``model.lists`` compares the rows of a request, the training part is kept a second time,
    by request. Under ``torchrun`` the first process does all this while the others wait.

    Args:
        config: The run.
        sources: The logs; or the folder that the configuration's paths start from.
        run_dir: The run's folder, for the quarantine and, unless configured, the cache.
        report: Called after each chunk.
        parent: Encoders to keep and extend: those of the model that the run starts from.

    Raises:
        ConfigError: Log, schema and split do not fit together, or the cache would be too large.
        DataError: The log is refused; all that is wrong is named.
        StorageError: The disk refused.
        DistributedError: The first process is gone.
    """
    processes = join_processes(choose_device(config.training.device))
    if isinstance(sources, Path):
        sources = open_sources(config.data, sources)
    work = _Preparation(config, sources, run_dir, report or _silent, parent)
    processes.first_does(work.make)
    prepared = work.open()
    if not config.model.lists:
        return prepared
    room = config.data.cache_max_bytes
    return with_whole_requests(prepared, work.cache, processes, max_bytes=room)


def cached_encoders(config: RunConfig, sources: Sources, run_dir: Path) -> Encoders | None:
    """What an earlier run fitted on the same log, if its cache is there; nothing is written.

    Raises:
        ConfigError, DataError: As ``prepare``, for the side tables.
    """
    return _Preparation(config, sources, run_dir, _silent).cached()


def _silent(stage: str, rows: int) -> None:
    """Report nothing."""


class _Preparation:
    """One call of ``prepare``; ``cache`` is its folder of encoded logs."""

    def __init__(
        self,
        config: RunConfig,
        sources: Sources,
        run_dir: Path,
        report: Report,
        parent: Encoders | None = None,
    ) -> None:
        self._config, self._sources, self._parent = config, sources, parent
        self._run_dir, self._report = run_dir, report
        self.cache = run_dir / "cache"
        if config.data.cache is not None:
            self.cache = (sources.root or Path()) / config.data.cache
        self._made: Prepared | None = None
        self._fingerprint = ""

    def make(self) -> str:
        """Open or build, in the first process; the fingerprint."""
        check_writable(self._run_dir)
        check_writable(self.cache)
        with RunLock(self._run_dir):
            self._fingerprint = self._fingerprint_of()
            self._made = self._stored() or self._built()
        return self._fingerprint

    def open(self) -> Prepared:
        """What ``make`` left: as it is in the first process, from the cache in the others."""
        if self._made is None:
            with self._open_stored() as found:
                self._fingerprint = str(found.manifest.extra["fingerprint"])
                self._made = self._opened(found)
        if self._made is None:
            raise ArtefactError(
                "the encoded log vanished", where=self.cache.name, hint="Start again."
            )
        return self._made

    def cached(self) -> Encoders | None:
        """The encoders in the cache, where they are those of this log."""
        try:
            with self._open_stored() as found:
                if found.manifest.extra.get("fingerprint") != self._fingerprint_of():
                    return None
                meta: Any = found.json(_ENCODERS)
                return Encoders.from_state(self._config.schema_, meta, found.arrays(_ARRAYS))
        except ArtefactError:
            return None

    @cached_property
    def _tables(self) -> dict[str, pa.Table]:
        """The side tables, read once."""
        schema, given = self._config.schema_, self._sources.tables
        missing = sorted({table.name for table in schema.tables} - set(given))
        if missing:
            raise ConfigError(
                f"no side table is given for {', '.join(map(repr, missing))}",
                where="data.tables",
                hint="Give each table of the schema by its name.",
            )
        return {
            side.name: load_side_table(given[side.name], side, schema, root=self._sources.root)
            for side in schema.tables
        }

    def _fingerprint_of(self) -> str:
        config = self._config
        facts: dict[str, Any] = {
            "polyrank": __version__,
            "schema": config.schema_.model_dump(mode="json"),
            "split": None
            if config.data.split is None
            else config.data.split.model_dump(mode="json"),
            "seed": config.data.seed,
            "logs": {part: log.fingerprint() for part, log in self._sources.logs.items()},
            "tables": {name: open_log(table).fingerprint() for name, table in self._tables.items()},
            "max_quarantine_share": config.data.max_quarantine_share,
        }
        if self._parent is not None:
            facts["parent"] = [self._parent.fingerprint(), config.training.freeze]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    # Used again.

    def _stored(self) -> Prepared | None:
        try:
            with self._open_stored() as found:
                if found.manifest.extra.get("fingerprint") != self._fingerprint:
                    return None
                made = self._opened(found)
                if made is not None:
                    self._put_quarantine(found)
                return made
        except ArtefactError:
            return None

    def _open_stored(self) -> Committed:
        return open_committed(self.cache / _KIND, kind=_KIND, supported_versions={2})

    def _opened(self, found: Committed) -> Prepared | None:
        meta: Any = found.json(_ENCODERS)
        facts: Any = found.json(_FACTS)
        encoders = Encoders.from_state(self._config.schema_, meta, found.arrays(_ARRAYS))
        logs: dict[str, EncodedLog] = {}
        for part in facts["dates"]:
            log = EncodedLog.open(self.cache / part, self._key(part), encoders.layout)
            if log is None:
                return None
            logs[part] = log
        return self._prepared(encoders, logs, facts)

    def _put_quarantine(self, found: Committed) -> None:
        """The refused rows of the run that read the log."""
        path = self._run_dir / QUARANTINE
        with storage_errors("write the quarantine", path.name):
            path.unlink(missing_ok=True)
            if QUARANTINE in found.names:
                path.write_bytes(found.read(QUARANTINE))

    # Built.

    def _built(self) -> Prepared:
        spans = Spans(self._config.schema_.keys.time)
        ledger = Ledger()
        readers = self._readers(ledger)
        thresholds = self._thresholds(self._chunks(readers, "train"))
        readers = self._readers(ledger, thresholds) if thresholds else readers
        chunks = self._reported("fit", self._chunks(readers, "train"))
        encoders = self._fitted(chunks, thresholds)
        few = {"train": self._few_matches(ledger, "train")}
        logs: dict[str, EncodedLog] = {}
        unseen = Unseen(encoders)
        for part in readers:
            chunks = spans.watch(part, self._chunks(readers, part))
            if part == "validation":
                chunks = unseen.watch(chunks)
            room = self._bytes_left(logs)
            logs[part] = self._encode(part, encoders, chunks, room)
            few[part] = self._few_matches(ledger, part)
        if WHOLE not in self._sources.logs:
            spans.refuse_backward()
        ledger.check()
        ignored = sorted({column for reader in readers.values() for column in reader.ignored})
        facts = {
            "dates": {part: asdict(spans.of(part)) for part in readers},
            "files": ", ".join(
                part.origin for log in self._sources.logs.values() for part in log.parts()
            ),
            "ledger": ledger.to_dict(),
            "notices": [
                *([f"nothing reads the columns {', '.join(ignored)}"] if ignored else []),
                *label_notices(self._config.schema_, encoders.layout.targets),
                *unseen.notices(),
                *(notice for notices in few.values() for notice in notices),
            ],
        }
        self._commit(encoders, facts)
        return self._prepared(encoders, logs, facts)

    def _thresholds(self, chunks: Iterator[pa.Table]) -> Thresholds:
        """Of long dwells: those of the parent, the others in a pass of their own."""
        config, known = self._config, None if self._parent is None else self._parent.thresholds
        chunks = self._reported("fit thresholds", chunks)
        return fit_thresholds(config.schema_, chunks, seed=config.data.seed, known=known)

    def _fitted(self, chunks: Iterator[pa.Table], thresholds: Thresholds) -> Encoders:
        schema, seed = self._config.schema_, self._config.data.seed
        if self._parent is None:
            return Encoders.fit(schema, chunks, seed=seed, thresholds=thresholds)
        grows = self._config.training.freeze is None
        return self._parent.extended(schema, chunks, seed=seed, grow=grows, thresholds=thresholds)

    def _few_matches(self, ledger: Ledger, part: Part) -> list[str]:
        """Side tables that hold few of the part's keys; one that holds none is refused."""
        tables = (table.name for table in self._config.schema_.tables)
        return [f"{part}: {text}" for text in match_notices(ledger.parts[part], tables)]

    def _encode(
        self, part: Part, encoders: Encoders, chunks: Iterator[pa.Table], max_bytes: int
    ) -> EncodedLog:
        try:
            return EncodedLog.build(
                self.cache / part,
                encoders,
                self._reported(f"encode {part}", chunks),
                fingerprint=self._key(part),
                max_bytes=max_bytes,
            )
        except ConfigError as error:
            if error.where is not None:
                raise
            raise ConfigError(
                f"the cache is full: {error.message}",
                where="data.cache_max_bytes",
                hint=f"Raise it; the parts before {part!r} are counted, too.",
            ) from error

    def _readers(self, ledger: Ledger, thresholds: Thresholds | None = None) -> dict[Part, Reader]:
        """One for each part."""
        data = self._config.data
        quarantine = Quarantine(self._run_dir / QUARANTINE, max_share=data.max_quarantine_share)

        def reader(log: Any, split: Any) -> Reader:
            return Reader(
                log,
                self._config.schema_,
                tables=self._tables,
                split=split,
                quarantine=quarantine,
                ledger=ledger,
                thresholds=thresholds,
            )

        logs = self._sources.logs
        if WHOLE not in logs:
            return {part: reader(logs[part], None) for part in _PARTS if part in logs}
        assert data.split is not None, "a configuration with one log has a split"
        one = reader(logs[WHOLE], data.split)
        return {part: one for part in _PARTS if part != "test" or part in data.split.parts()}

    def _chunks(self, readers: Mapping[Part, Reader], part: Part) -> Iterator[pa.Table]:
        if WHOLE in self._sources.logs:
            return readers[part].chunks(part)
        return readers[part].chunks("all", account=part)

    def _reported(self, stage: str, chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
        rows = 0
        for chunk in chunks:
            rows += chunk.num_rows
            yield chunk
            self._report(stage, rows)

    def _bytes_left(self, done: Iterable[str]) -> int:
        files = (path for part in done for path in (self.cache / part).glob("rows-*.bin"))
        used = sum(path.stat().st_size for path in files)
        return max(1, self._config.data.cache_max_bytes - used)

    def _commit(self, encoders: Encoders, facts: Mapping[str, Any]) -> None:
        meta, arrays = encoders.state()
        files: dict[str, FileSource] = {
            _ENCODERS: jsonio.dumps(meta),
            _ARRAYS: arrays_writer(arrays),
            _FACTS: jsonio.dumps(facts),
        }
        quarantine = self._run_dir / QUARANTINE
        if quarantine.exists():
            files[QUARANTINE] = quarantine.read_bytes()
        commit_directory(
            self.cache / _KIND,
            files,
            kind=_KIND,
            format_version=2,
            extra={"fingerprint": self._fingerprint},
            replace=True,
        )

    def _key(self, part: str) -> str:
        return f"{self._fingerprint} {part}"

    def _prepared(
        self, encoders: Encoders, logs: Mapping[str, EncodedLog], facts: Mapping[str, Any]
    ) -> Prepared:
        return Prepared(
            encoders=encoders,
            train=logs["train"],
            validation=logs["validation"],
            test=logs.get("test"),
            tables=self._tables,
            ledger=Ledger.from_dict(facts["ledger"]),
            data_dates={part: Span(**span) for part, span in facts["dates"].items()},
            fingerprint=self._fingerprint,
            provenance={
                "log": self._fingerprint,
                "encoders": encoders.fingerprint(),
                "config": self._config.fingerprint(),
                "files": facts["files"],
            },
            notices=tuple(facts["notices"]),
        )
