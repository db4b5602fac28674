"""Statistics of a part of the batch, in place of those of all of it."""

from flax import nnx

from flaxblocks._base import checks
from flaxblocks.layers import BatchNorm


def split_statistics(model: nnx.Module, groups: int) -> None:
    """Let every BatchNorm of a network normalize each of several parts of a batch by itself.

    With as many parts as devices each device takes its own statistics, as PyTorch's replicas do
    without ``SyncBatchNorm``, and no message is sent for them; but the running statistics are the
    mean of all devices', not the first one's.

    Args:
        model: the network, which is changed.
        groups: number of parts, which must divide the rows of each batch.

    Raises:
        TypeError: if `groups` is not an integer.
        ValueError: if it is not positive.
    """
    checks.positive_int("groups", groups)
    for _, node in nnx.iter_graph(model):
        if isinstance(node, BatchNorm):
            node.groups = groups
