"""What helps against experts in ill health: the keys of the configuration that there are.

>>> from polyrank.sharing import MMoE, SharedBottom
>>> remedy("scales", MMoE())
'set model.sharing.norm to layer'
>>> remedy("scales", SharedBottom())
'lower training.learning_rate'
"""

from __future__ import annotations

from typing import Any, Literal

from polyrank.sharing import SharingConfig

Kind = Literal["collapse", "unused", "dead", "scales"]

_REMEDIES: dict[Kind, dict[str, str]] = {
    "collapse": {
        "gate_dropout": "raise {key} (0.1 is usual)",
        "gate_temperature": "raise {key}",
        "balance": "raise {key}",
        "num_selected": "raise {key}",
    },
    "unused": {
        "balance": "raise {key}",
        "gate_dropout": "raise {key} (0.1 is usual)",
        "num_selected": "raise {key}",
        "num_experts": "lower {key}",
    },
    "dead": {"norm": "set {key} to layer", "activation": "set {key} to swish"},
    "scales": {"norm": "set {key} to layer"},
}
_UNTAKEN = {"norm": "none", "activation": "relu"}
"""The value of a key whose remedy is not taken yet."""
_OTHERWISE = "lower training.learning_rate"


def remedy(kind: Kind, config: SharingConfig) -> str:
    """What to change, with the keys of this architecture."""
    found = _settings(config, "model.sharing")
    advice = [
        text.format(key=found[name][0])
        for name, text in _REMEDIES[kind].items()
        if name in found and found[name][1] == _UNTAKEN.get(name, found[name][1])
    ]
    return " or ".join(advice or [_OTHERWISE])


def _settings(config: SharingConfig, path: str) -> dict[str, tuple[str, Any]]:
    """By name, the path and value of each setting, also of a sharing within."""
    found: dict[str, tuple[str, Any]] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, SharingConfig):
            found |= _settings(value, f"{path}.{name}")
        else:
            found[name] = (f"{path}.{name}", value)
    return found
