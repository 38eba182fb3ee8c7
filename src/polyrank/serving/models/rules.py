"""Whether a value model may be set: its kinds and each number in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polyrank.errors import ConfigError
from polyrank.fusion import ByContext, Demotion, ValueModel
from polyrank.serving.models.settings import ValueRules

Path = tuple[str, ...]
WHERE = "value model"


def check_rules(model: ValueModel, demotion: Demotion | None, rules: ValueRules) -> None:
    """Refuse a value model that leaves the declared bounds.

    Raises:
        ConfigError: All that is out of bounds, with the place, the number and the bound.
    """
    tree = model.model_dump(mode="json")
    if demotion is not None:
        tree["demotion"] = demotion.model_dump(mode="json")
    problems = (*_kinds(model, rules), *_outside(tree, rules))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError(f"{len(problems)} problems", where=WHERE, problems=problems)


def _kinds(model: ValueModel, rules: ValueRules) -> Iterator[ConfigError]:
    if model.kind not in rules.kinds:
        allowed = ", ".join(rules.kinds)
        yield ConfigError(
            f"must be one of {allowed}, got {model.kind!r}",
            where=f"{WHERE}: kind",
            hint="Name the kind in `catalog.rules.kinds` of the server's settings.",
        )
    if isinstance(model, ByContext):
        for inner in (*model.values.values(), model.default):
            yield from _kinds(inner, rules)


def _outside(tree: Mapping[str, Any], rules: ValueRules) -> Iterator[ConfigError]:
    patterns = {tuple(path.split(".")): bounds for path, bounds in rules.bounds.items()}
    for path, number in _numbers(tree, ()):
        for pattern, bounds in patterns.items():
            low = bounds.min is not None and number < bounds.min
            high = bounds.max is not None and number > bounds.max
            if (low or high) and _means(pattern, path):
                rule = f"at least {bounds.min:g}" if low else f"at most {bounds.max:g}"
                yield ConfigError(
                    f"must be {rule}, got {number:g}", where=f"{WHERE}: {'.'.join(path)}"
                )


def _means(pattern: Path, path: Path) -> bool:
    end = path[-len(pattern) :]
    return len(end) == len(pattern) and all(
        part in ("*", key) for part, key in zip(pattern, end, strict=True)
    )


def _numbers(tree: Any, path: Path) -> Iterator[tuple[Path, float]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _numbers(value, (*path, str(key)))
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path, float(tree)
