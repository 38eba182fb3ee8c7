"""``polyrank`` of which each ranking leaves bytes behind: what a soak has to notice.

python leaking.py BYTES serve ...
"""

from __future__ import annotations

import sys
from typing import Any

from polyrank.cli import main
from polyrank.serving.service import Service

_kept: list[bytearray] = []


def leak(size: int) -> None:
    """Wrap ``Service.rank``."""
    ranked = Service.rank

    def rank(self: Service, *arguments: Any) -> Any:
        _kept.append(bytearray(b"x" * size))
        return ranked(self, *arguments)

    Service.rank = rank  # type: ignore[method-assign]


if __name__ == "__main__":
    leak(int(sys.argv[1]))
    sys.argv = ["polyrank", *sys.argv[2:]]
    main()
