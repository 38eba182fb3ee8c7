"""A bundle in two versions that differ in their value model alone, behind one link."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyrank.bundle import Bundle, load_bundle, save_bundle
from polyrank.fusion import parse_value_model
from serving.process import Server
from serving.questions import TRIAL

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"


@dataclass
class World:
    """What is served."""

    bundle: Bundle
    folder: Path
    current: int = 0

    @classmethod
    def of(cls, source: Path, folder: Path) -> World:
        """The bundle at ``source`` as two versions in ``folder``, the link on the first."""
        bundle = load_bundle(source)
        for number, model in enumerate(value_models(bundle)):
            parsed, _ = parse_value_model(model, where="benchmark")
            save_bundle(bundle.with_value_model(parsed), folder / f"version{number}")
        world = cls(bundle, folder)
        world.point(0)
        return world

    @property
    def link(self) -> Path:
        """What the server watches."""
        return self.folder / "model"

    def point(self, number: int) -> None:
        """Let the link lead to a version."""
        beside = self.folder / "beside"
        beside.unlink(missing_ok=True)
        beside.symlink_to(self.folder / f"version{number}")
        beside.replace(self.link)
        self.current = number

    def reload(self, server: Server) -> None:
        """Let the other version answer."""
        self.point(1 - self.current)
        told = server.told("POST", "/v1/models/model/reload")
        if told["refused"]:
            raise RuntimeError(f"a good bundle is refused: {told}")

    def change(self, server: Server, number: int) -> None:
        """Rank the trial profile by one of the two value models."""
        model = value_models(self.bundle)[number % 2]
        asked = {"profile": TRIAL, "value_model": model}
        server.told("PUT", "/v1/models/model/value-model", asked)


def value_models(bundle: Bundle) -> list[dict[str, Any]]:
    """Two, of the bundle's tasks."""
    names = bundle.schema.task_names
    return [
        {
            "kind": "weighted_sum",
            "terms": {name: {"weight": 1.0 / (1 + abs(place - first))} for place, name in named},
        }
        for first, named in ((0, list(enumerate(names))), (1, list(enumerate(names))))
    ]


def trained(data_root: Path | None, folder: Path) -> Path:
    """A bundle: KuaiRand's of one epoch or, without data, the demo's of the simulated feed."""
    polyrank = [sys.executable, "-m", "polyrank"]
    if data_root is not None:
        given = ["--data-root", str(data_root), "--output", str(folder / "run"), "--quiet"]
        command = ["train", str(EXAMPLES / "kuairand.yaml"), "--set", "training.epochs=1", *given]
        subprocess.run([*polyrank, *command], check=True)
        return folder / "run" / "bundle"
    subprocess.run([*polyrank, "demo", "--folder", str(folder / "demo"), "--quiet"], check=True)
    return folder / "demo" / "run" / "bundle"
