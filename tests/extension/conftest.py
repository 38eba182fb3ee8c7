"""One thread, and no waiting for the disk, whose crashes tests/storage has."""

from tests.cli.conftest import one_thread, without_waiting_for_the_disk

__all__ = ["one_thread", "without_waiting_for_the_disk"]
