"""Artefacts on disk: committed whole or not at all, verified before a byte is used.

>>> import tempfile
>>> from pathlib import Path
>>> from polyrank.storage import commit_directory, open_committed
>>> with tempfile.TemporaryDirectory() as home:
...     path = Path(home) / "greeting"
...     files = {"words.json": b'{"hello": "world"}'}
...     written = commit_directory(path, files, kind="note", format_version=1)
...     with open_committed(path, kind="note", supported_versions={1}) as note:
...         note.json("words.json")
{'hello': 'world'}

Checkpoints of a run, with retention and falling back from a damaged one, are a ``CheckpointStore``;
``RunLock`` keeps a second trainer out, and ``check_writable`` fails before the work instead of
after. Arrays go in as safetensors (``arrays_writer``), everything else as strict JSON (``jsonio``).
"""

from polyrank.storage import jsonio
from polyrank.storage.arrays import arrays_writer, load_arrays, save_arrays
from polyrank.storage.commit import FileSource, commit_directory
from polyrank.storage.jsonio import JsonValue
from polyrank.storage.lock import RunLock
from polyrank.storage.manifest import FileEntry, Manifest, UnsupportedFormat
from polyrank.storage.preflight import check_writable
from polyrank.storage.store import CheckpointStore
from polyrank.storage.verify import Committed, open_committed

__all__ = [
    "CheckpointStore",
    "Committed",
    "FileEntry",
    "FileSource",
    "JsonValue",
    "Manifest",
    "RunLock",
    "UnsupportedFormat",
    "arrays_writer",
    "check_writable",
    "commit_directory",
    "jsonio",
    "load_arrays",
    "open_committed",
    "save_arrays",
]
