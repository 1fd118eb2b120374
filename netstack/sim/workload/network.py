"""The network between the host and its peers, as far as it loses or delays segments. Knows no protocol and no distances."""

from netstack.jit.compilation import compiled
from netstack.sim.stack.numbers import Side
from netstack.sim.stack.state import flow_of
from netstack.tcp.lookup import tuple_hash

LOSS, LATE = 4, 6  # the first of two streams of draws each, one per side; those of `client` come before


@compiled
def loses(stack, flow_index, side):
    """Return whether the network loses the next segment that one end of a connection sends, and count it.

    Its number draws, among all segments of that end in the connection's record.
    """
    if stack.loss_limit[side] == 0 and stack.late_limit[side] == 0:
        return False
    flow = flow_of(stack, flow_index)
    number = flow.network_segments[side]
    flow.network_segments[side] += 1
    if _draw(stack, flow_index, LOSS + side, number) >= stack.loss_limit[side]:
        return False
    if side == Side.LOCAL:
        stack.lost_to_peers += 1
    else:
        stack.lost_to_host += 1
    return True


@compiled
def _draw(stack, flow_index, stream, number):
    return tuple_hash(stack.draw_seed, flow_index, stream, number, number >> 16)


@compiled
def is_late(stack, flow_index, side):
    """Return whether the network delays a segment that it has not lost, the last one of that end, and count it."""
    if stack.late_limit[side] == 0:
        return False
    number = flow_of(stack, flow_index).network_segments[side] - 1
    if _draw(stack, flow_index, LATE + side, number) >= stack.late_limit[side]:
        return False
    if side == Side.LOCAL:
        stack.late_to_peers += 1
    else:
        stack.late_to_host += 1
    return True
