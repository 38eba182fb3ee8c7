"""How old rows are and how late their events came, on their way to the heads.

Shapes: B rows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyrank.data.maturing import ages_of
from polyrank.data.observed import asked_mask
from polyrank.schema import Schema

_BELOW, _ABOVE = (np.nextafter(np.float32(1), np.float32(side)) for side in (0, 2))


def age_names(schema: Schema) -> tuple[str, ...]:
    """Names in ``Batch.extras``, in the order of the tasks."""
    return tuple(f"{task.name}.{what}" for task in schema.maturing for what in ("elapsed", "delay"))


def age_extras(table: pa.Table, schema: Schema) -> dict[str, NDArray[np.float32]]:
    """By name, (B,) in windows: "<task>.elapsed" and "<task>.delay" as in ``Batch.extras``.

    What is below, at or above 1 stays so in float32.
    """
    extras: dict[str, NDArray[np.float32]] = {}
    for task in schema.maturing:
        ages = ages_of(table, schema, task)
        elapsed_B = ages.elapsed_B.astype(np.float32)
        young_B = ~ages.mature_B & (elapsed_B >= 1)
        delay_B = np.where(asked_mask(table, schema, task), ages.delay_B, np.nan)
        delay_B = delay_B.astype(np.float32)
        late_B = ages.late_B & (delay_B <= 1)
        extras[f"{task.name}.elapsed"] = np.where(young_B, _BELOW, elapsed_B)
        extras[f"{task.name}.delay"] = np.where(late_B, _ABOVE, delay_B)
    return extras
