"""DeepCTR-Torch's MMOE, as it is trained and asked."""

from common import DIM, EXPERT_WIDTHS, EXPERTS, IDS, NUMERICS, TASKS, TOWER, TYPES
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import MMOE


def mmoe(sizes):
    """The network, untrained; ``sizes`` of the tables."""
    features = [SparseFeat(name, size, DIM) for name, size in zip(IDS, sizes, strict=True)]
    features += [DenseFeat(name, 1) for name in NUMERICS]
    return MMOE(
        features,
        num_experts=EXPERTS,
        expert_dnn_hidden_units=EXPERT_WIDTHS,
        gate_dnn_hidden_units=(),
        tower_dnn_hidden_units=TOWER,
        l2_reg_embedding=0,
        l2_reg_linear=0,
        task_types=TYPES,
        task_names=TASKS,
    )
