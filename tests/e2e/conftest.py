"""The same workbench as in tests/cli."""

from tests.cli.conftest import bundle, one_thread, trained, without_waiting_for_the_disk

__all__ = ["bundle", "one_thread", "trained", "without_waiting_for_the_disk"]
