"""torch-rechub's MMOE, as it is trained and asked."""

from common import BINARY, DIM, EXPERT_WIDTHS, EXPERTS, IDS, NUMERICS, TASKS, TOWER
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE

TYPES = ["classification"] * len(BINARY) + ["regression"]


def mmoe(sizes):
    """The network, untrained; ``sizes`` of the tables."""
    features = [
        SparseFeature(name, vocab_size=size, embed_dim=DIM)
        for name, size in zip(IDS, sizes, strict=True)
    ]
    features += [DenseFeature(name) for name in NUMERICS]
    towers = [{"dims": list(TOWER)} for _ in TASKS]
    return MMOE(features, TYPES, EXPERTS, {"dims": list(EXPERT_WIDTHS)}, towers)
