"""From what a user names (a file, a glob, a folder, a list of them) to files of one format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from polyrank.errors import ConfigError

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
}
_KNOWN = ", ".join(f"*{suffix}" for suffix in FORMATS)


def find_files(named: Sequence[str | Path], root: Path | None) -> list[Path]:
    """The files that are meant, in the order named; those of a glob or folder sorted by name.

    Raises:
        ConfigError: Nothing there, a URL, or a file named twice.
    """
    files = [file for name in named for file in _expand(str(name), root or Path())]
    twice = [str(file) for file, n in Counter(path.resolve() for path in files).items() if n > 1]
    if twice:
        raise ConfigError(
            f"{Path(twice[0]).name!r} is in the log twice: its rows would count twice",
            hint="Name each file once.",
        )
    return files


def format_of(files: Sequence[Path]) -> str:
    """The one format of all files, by their suffix.

    Raises:
        ConfigError: An unknown suffix, or more than one format.
    """
    formats: dict[str, Path] = {}
    for file in files:
        known = FORMATS.get(file.suffix.lower())
        if known is None:
            raise ConfigError(
                f"cannot tell the format of {file.name!r} by its name",
                hint=f"A log is {_KNOWN}; anything else goes through a query or a table.",
            )
        formats.setdefault(known, file)
    if len(formats) > 1:
        names = " and ".join(file.name for file in formats.values())
        raise ConfigError(
            f"the log mixes formats: {names}", hint="Give files of one format, or a glob."
        )
    return next(iter(formats))


def display_names(files: Sequence[Path]) -> list[str]:
    """Short names that tell the files apart."""
    depth, names = 1, [file.name for file in files]
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(file.parts[-depth:]) for file in files]
    return names


def _expand(name: str, root: Path) -> list[Path]:
    if "://" in name:
        raise ConfigError(
            f"{name!r} is a URL; a log is read from disk", hint="Copy the files to a folder first."
        )
    path = root / Path(name).expanduser()
    if path.is_dir():
        return _of_folder(path, name)
    if path.exists():
        return [path]
    if any(mark in name for mark in "*?["):
        return _of_glob(path, name)
    raise ConfigError(f"{name!r} does not exist", where=_place(root), hint="Check the path.")


def _of_folder(path: Path, name: str) -> list[Path]:
    files = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in FORMATS and not file.name.startswith((".", "_"))
    )
    if not files:
        raise ConfigError(
            f"the folder {name!r} holds no log", hint=f"It is searched, not deeply, for {_KNOWN}."
        )
    return files


def _of_glob(path: Path, name: str) -> list[Path]:
    anchor = Path(path.anchor)
    pattern = str(path.relative_to(anchor)) if path.anchor else str(path)
    files = sorted(file for file in anchor.glob(pattern) if file.is_file())
    if not files:
        raise ConfigError(f"no file matches {name!r}", hint="Check the pattern.")
    return files


def _place(root: Path) -> str | None:
    return None if root == Path() else f"in {root}"
