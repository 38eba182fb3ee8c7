"""The artefact: everything that scoring needs, and nothing of the training data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyrank.bundle.card import Card, parse_card, render
from polyrank.bundle.profile import Profile
from polyrank.bundle.values import SetBy, ValueHistory
from polyrank.calibration import CURVES, Curve
from polyrank.data import Encoders
from polyrank.errors import ArtefactError, PolyrankError
from polyrank.fusion import Demotion, ValueModel
from polyrank.layers import Undrawn
from polyrank.model import ModelConfig, RankingModel
from polyrank.schema import Schema, parse
from polyrank.storage import Committed, arrays_writer, commit_directory, jsonio, open_committed
from polyrank.storage.commit import FileSource
from polyrank.storage.names import MANIFEST
from polyrank.storage.tables import table_bytes

KIND = "bundle"
FORMAT_VERSION = 1
VALUES = "value_model.json"
_NETWORK = (
    *("schema.json", "model.json", "encoders.json"),
    *("encoders.safetensors", "weights.safetensors"),
)
PROFILE = "profile.json"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model with all it needs; immutable. A request takes one and answers from it alone."""

    schema: Schema
    encoders: Encoders
    model: RankingModel
    """In evaluation mode, fp32."""
    model_config: ModelConfig
    tables: Mapping[str, pa.Table]
    """The side tables, with what the schema reads of them; joined where the input lacks it."""
    card: Card
    calibration: Mapping[str, Curve] = field(default_factory=dict)
    """By binary task, what its probabilities go through; those not here stay as predicted."""
    values: ValueHistory = field(default_factory=ValueHistory)
    """The value models it has had, and which of them is in force."""
    profile: Profile | None = None
    """What inputs and predictions looked like on the validation part; null: of a bundle made by
    hand, or before there were profiles."""
    version: str = ""
    """Of a saved bundle: a SHA-256 of its content, whenever it was written. Empty before saving."""
    network: str = ""
    """Of a bundle that was loaded: a SHA-256 of schema, encoders, configuration and weights. Those
    that differ in calibration, value models or side tables alone compute by the same network."""

    @property
    def value_model(self) -> ValueModel | None:
        """What candidates are ranked by; null: ``scoring.order.default_weights``."""
        found = self.values.in_force
        return None if found is None else found.model

    @property
    def demotion(self) -> Demotion | None:
        """What moves repetitions down after the value model."""
        found = self.values.in_force
        return None if found is None else found.demotion

    def with_value_model(
        self,
        model: ValueModel,
        demotion: Demotion | None = None,
        *,
        by: SetBy = "python",
        source: str = "",
        measured: Mapping[str, Any] | None = None,
    ) -> Bundle:
        """The bundle that ranks by ``model``; the value model before stays in its history.

        Args:
            model: Of tasks of the schema, each times the probabilities of its sample space.
            demotion: Applied after it.
            by: Who sets it.
            source: From which log or file.
            measured: As in ``ValueVersion``.

        Raises:
            ConfigError: The model reads a task that the schema does not have.
        """
        values = self.values.extended(
            model,
            demotion,
            self.schema.task_names,
            by=by,
            source=source,
            measured=measured or {},
        )
        return replace(self, values=values, version="")

    def with_values_rolled_back(self) -> Bundle:
        """The bundle that ranks as before its value model was set.

        Raises:
            ConfigError: It has none.
        """
        return replace(self, values=self.values.rolled_back(), version="")


def save_bundle(bundle: Bundle, path: Path, *, replace: bool = False) -> str:
    """Write ``bundle`` as the folder ``path``, all of it or nothing.

    Returns:
        Its version.

    Raises:
        DivergedError: A weight is not finite.
        ConfigError: ``path`` exists and ``replace`` is not set, or it holds no bundle.
        StorageError: The disk is full, read-only or failing.
    """
    meta, arrays = bundle.encoders.state()
    weights = {name: _to_numpy(value) for name, value in bundle.model.state_dict().items()}
    files: dict[str, FileSource] = {
        "schema.json": jsonio.dumps(bundle.schema.model_dump(mode="json")),
        "model.json": jsonio.dumps(bundle.model_config.model_dump(mode="json")),
        "encoders.json": jsonio.dumps(meta),
        "encoders.safetensors": arrays_writer(arrays),
        "weights.safetensors": arrays_writer(weights, finite=True),
        "calibration.json": jsonio.dumps(
            {task: curve.model_dump(mode="json") for task, curve in bundle.calibration.items()}
        ),
        "card.json": jsonio.dumps(bundle.card.model_dump(mode="json")),
        "card.md": render(bundle.card, bundle.values).encode(),
        **(
            {VALUES: jsonio.dumps(bundle.values.model_dump(mode="json"))}
            if bundle.values.versions
            else {}
        ),
        **(
            {PROFILE: jsonio.dumps(bundle.profile.model_dump(mode="json"))}
            if bundle.profile is not None
            else {}
        ),
        **{f"tables/{name}.parquet": table_bytes(table) for name, table in bundle.tables.items()},
    }
    manifest = commit_directory(
        path,
        files,
        kind=KIND,
        format_version=FORMAT_VERSION,
        extra={"tasks": list(bundle.schema.task_names), "tables": sorted(bundle.tables)},
        replace=replace,
    )
    return manifest.content


@contextmanager
def open_bundle(path: Path) -> Iterator[Committed]:
    """The verified files of a bundle; what is refused in the block is told with the bundle's path.

    Raises:
        ArtefactError: Not a bundle, of a newer format, altered or incomplete.
    """
    try:
        with open_committed(path, kind=KIND, supported_versions={FORMAT_VERSION}) as committed:
            yield committed
    except PolyrankError as error:
        inside = error.where not in (None, path.absolute().name)
        error.where = f"{path}: {error.where}" if inside else str(path)
        if (path / KIND / MANIFEST).is_file() and not (path / MANIFEST).exists():
            error.hint = f"This is the folder of a run. Did you mean {path / KIND}?"
        raise


def load_bundle(path: Path) -> Bundle:
    """Read a bundle; every byte is checked against the manifest before any is used.

    Raises:
        ArtefactError: Not a bundle, of a newer format, altered, incomplete, or with parts that do
            not fit together.
    """
    with open_bundle(path) as committed:
        schema = parse(Schema, _tree(committed, "schema.json"), where="schema.json")
        config = parse(ModelConfig, _tree(committed, "model.json"), where="model.json")
        encoders = Encoders.from_state(
            schema, _tree(committed, "encoders.json"), committed.arrays("encoders.safetensors")
        )
        weights = committed.arrays("weights.safetensors", finite=True)
        return Bundle(
            schema=schema,
            encoders=encoders,
            model=_rebuild(schema, encoders, config, weights),
            model_config=config,
            tables={table.name: _table(committed, table.name) for table in schema.tables},
            card=parse_card(_tree(committed, "card.json")),
            calibration=_curves(committed, schema),
            values=_values(committed, schema),
            profile=_profile(committed),
            version=committed.manifest.content,
            network=_network(committed),
        )


def _network(committed: Committed) -> str:
    told = [committed.manifest.files[name].sha256 for name in _NETWORK]
    return hashlib.sha256(" ".join(told).encode()).hexdigest()


def _curves(committed: Committed, schema: Schema) -> dict[str, Curve]:
    """The calibration of each task that has one; of none in a bundle from before there was any."""
    file = "calibration.json"
    if file not in committed.names:
        return {}
    curves = {}
    for task, tree in _tree(committed, file).items():
        kind = str(tree.get("kind")) if isinstance(tree, dict) else ""
        if task not in schema.task_names or kind not in CURVES:
            told = f"holds a curve of kind {kind!r} for {task!r}"
            raise ArtefactError(told, where=file, hint="Restore the bundle.")
        curves[task] = parse(CURVES[kind], tree, where=file)
    return curves


def _values(committed: Committed, schema: Schema) -> ValueHistory:
    """The value models; none in a bundle that never had one."""
    if VALUES not in committed.names:
        return ValueHistory()
    values = parse(ValueHistory, _tree(committed, VALUES), where=VALUES)
    if unknown := set(values.tasks) - set(schema.task_names):
        told = f"reads {', '.join(map(repr, sorted(unknown)))}, which the schema does not have"
        raise ArtefactError(told, where=VALUES, hint="Restore the bundle.")
    return values


def _profile(committed: Committed) -> Profile | None:
    if PROFILE not in committed.names:
        return None
    return parse(Profile, _tree(committed, PROFILE), where=PROFILE)


def _rebuild(
    schema: Schema,
    encoders: Encoders,
    config: ModelConfig,
    weights: Mapping[str, NDArray[Any]],
) -> RankingModel:
    with torch.device("meta"), Undrawn():
        model = RankingModel(schema, encoders.layout, config, seed=0)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    if expected != found:
        odd = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        raise ArtefactError(
            f"{len(odd)} tensors are missing, unknown or of another shape, the first {odd[0]!r}",
            where="weights.safetensors",
            hint="The parts of this bundle are not of one model: restore it.",
        )
    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    model.load_state_dict(state, assign=True)
    held = [*model.named_parameters(), *model.named_buffers()]
    unfilled = [name for name, value in held if value.is_meta]
    assert not unfilled, f"neither saved nor made on a device of their own: {unfilled}"
    return model.eval().requires_grad_(requires_grad=False)


def _tree(committed: Committed, name: str) -> dict[str, Any]:
    tree = committed.json(name)
    if not isinstance(tree, dict):
        raise ArtefactError("must be a JSON object", where=name, hint="Restore the bundle.")
    return tree


def _table(committed: Committed, name: str) -> pa.Table:
    file = f"tables/{name}.parquet"
    if file not in committed.names:
        raise ArtefactError(
            "the schema declares this side table and the bundle lacks it",
            where=file,
            hint="Restore the bundle.",
        )
    return committed.table(file)


def _to_numpy(value: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(value.detach().cpu().numpy())
