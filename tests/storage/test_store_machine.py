"""Random histories of a store: saves, damage, starts and going back, against a model of it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polyrank.errors import ArtefactError, ConfigError
from polyrank.storage import CheckpointStore
from tests.storage.samples import contents, flip, listing

KEEP = 3


class StoreMachine(RuleBasedStateMachine):
    """The model: step to content, the damaged steps, and whether any was ever set aside."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="polyrank-test-"))
        self.store = CheckpointStore(self.home, KEEP)
        self.saved: dict[int, dict[str, bytes]] = {}
        self.damaged: set[int] = set()
        self.set_aside = 0

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    def _path(self, step: int) -> Path:
        return self.home / f"step-{step:010d}"

    @rule(gap=st.integers(0, 5), content=st.binary(max_size=20))
    def save(self, gap: int, content: bytes) -> None:
        step = max(self.saved, default=0) + gap
        replaceable = step not in self.saved or (self._path(step) / "MANIFEST.json").exists()
        if not replaceable and any(self._path(step).iterdir()):
            with pytest.raises(ConfigError):
                self.store.save(step, {"x": content})
            return
        files = {"x": b"=" + content, "folder/y": b"y" * step}
        self.store.save(step, files)
        self.saved[step] = files
        self.damaged.discard(step)
        for old in sorted(self.saved)[:-KEEP]:
            self._forget(old)

    @rule(back=st.integers(1, 5))
    @precondition(lambda self: self.saved)
    def save_before_the_newest(self, back: int) -> None:
        with pytest.raises(ConfigError):
            self.store.save(max(self.saved) - back, {})

    @rule(data=st.data())
    @precondition(lambda self: self.saved)
    def damage(self, data: st.DataObject) -> None:
        step = data.draw(st.sampled_from(sorted(self.saved)))
        if step in self.damaged:
            return
        self.damaged.add(step)
        name = data.draw(st.sampled_from(["x", "MANIFEST.json"]))
        how = data.draw(st.sampled_from(["flip", "remove", "extra"]))
        if how == "flip":
            size = (self._path(step) / name).stat().st_size
            position = data.draw(st.integers(0, size - 1))
            flip(self._path(step) / name, position, data.draw(st.integers(0, 7)))
        elif how == "remove":
            (self._path(step) / name).unlink()
        else:
            (self._path(step) / "extra").touch()

    @rule()
    def reopen(self) -> None:
        self.store = CheckpointStore(self.home, KEEP)

    @rule()
    def litter_of_a_dead_process(self) -> None:
        for prefix in ("tmp", "trash"):
            (self.home / f".{prefix}-step-0000000001-1-00000000").mkdir(exist_ok=True)
        self.reopen()
        assert all(not name.startswith((".tmp-", ".trash-")) for name in listing(self.home))

    @rule(step=st.integers(0, 30))
    def discard_after(self, step: int) -> None:
        self.store.discard_after(step)
        for later in [later for later in self.saved if later > step]:
            self._forget(later)

    @rule()
    def newest_strictly(self) -> None:
        if self.saved and max(self.saved) in self.damaged:
            with pytest.raises(ArtefactError):
                self.store.newest(strict=True)
        elif self.saved:
            self._check(max(self.saved), strict=True)

    @rule()
    def newest(self) -> None:
        notices = len(self.store.notices)
        good = max(self.saved.keys() - self.damaged, default=None)
        later = {step for step in self.saved if good is None or step > good}
        self.set_aside += len(later)
        if good is not None:
            self._check(good, strict=False)
        elif self.set_aside:
            with pytest.raises(ArtefactError):
                self.store.newest()
        else:
            assert self.store.newest() is None
        assert len(self.store.notices) == notices + len(later)
        for step in later:
            self._forget(step)

    @invariant()
    def the_names_are_those_of_the_model(self) -> None:
        assert self.store.steps() == sorted(self.saved)
        aside = [name for name in listing(self.home) if name.startswith(".quarantined-")]
        assert len(aside) == self.set_aside
        assert len(listing(self.home)) == len(self.saved) + self.set_aside

    def _check(self, step: int, *, strict: bool) -> None:
        found = self.store.newest(strict=strict)
        assert found is not None
        with found:
            assert found.path == self._path(step)
            assert contents(found) == self.saved[step]

    def _forget(self, step: int) -> None:
        del self.saved[step]
        self.damaged.discard(step)


StoreMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestStore = StoreMachine.TestCase
