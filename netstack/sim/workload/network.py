"""The network between the host and its peers, as far as it loses segments. Knows no protocol and no delays."""

from netstack.jit.compilation import compiled
from netstack.sim.stack.numbers import Side
from netstack.sim.stack.state import flow_of
from netstack.tcp.lookup import tuple_hash

LOSS = 4  # the first of two streams of draws, one per side; those of `client` come before


@compiled
def loses(stack, flow_index, side):
    """Return whether the network loses the next segment that one end of a connection sends, and count it.

    Its number draws, among all segments of that end in the connection's record.
    """
    if stack.loss_limit[side] == 0:
        return False
    flow = flow_of(stack, flow_index)
    number = flow.network_segments[side]
    flow.network_segments[side] += 1
    if tuple_hash(stack.draw_seed, flow_index, LOSS + side, number, number >> 16) >= stack.loss_limit[side]:
        return False
    if side == Side.LOCAL:
        stack.lost_to_peers += 1
    else:
        stack.lost_to_host += 1
    return True
