"""What a connection's client asks of a server: when, how much, and how long the answer took. Knows no TCP: `peer` sends.

Sizes and times are drawn by the client's number and the request's, so that they are the same in every organization.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.state import NEVER
from netstack.sim.stack.histogram import bucket_of_value
from netstack.sim.stack.records import MAX_OUTSTANDING
from netstack.sim.stack.state import (
    exchange_of,
    interval_of,
    peer_of,
    request_latency_of,
    request_size_of,
    response_size_of,
    service_of,
)
from netstack.sim.workload.distributions import SAMPLES
from netstack.tcp.lookup import tuple_hash

REQUEST, RESPONSE, SERVICE, INTERVAL = range(4)  # streams of draws


@compiled
def _draw(stack, flow_index, number, stream):
    """Return which quantile the request of a client has, by its number among all of that client."""
    return tuple_hash(stack.draw_seed, flow_index, stream, number, number >> 16) % SAMPLES


@compiled
def request_bytes(stack, flow_index, number):
    """Return the payload of a connection's request, by its number on this connection."""
    first = exchange_of(stack, flow_index).first_draw
    return request_size_of(stack, _draw(stack, flow_index, first + number, REQUEST)).value


@compiled
def response_bytes(stack, flow_index, number):
    """Return the payload of the response to a connection's request."""
    first = exchange_of(stack, flow_index).first_draw
    return response_size_of(stack, _draw(stack, flow_index, first + number, RESPONSE)).value


@compiled
def service_cycles(stack, flow_index, number):
    """Return how long the application computes for a connection's request, in cycles."""
    first = exchange_of(stack, flow_index).first_draw
    return service_of(stack, _draw(stack, flow_index, first + number, SERVICE)).value


@compiled
def begin_exchange(stack, flow_index):
    """Forget the exchange of the client's last connection. Its outstanding requests are lost."""
    exchange = exchange_of(stack, flow_index)
    stack.requests_lost += exchange.sent - exchange.answered
    exchange.first_draw += exchange.sent
    exchange.sent = 0
    exchange.answered = 0
    forget_read(exchange)
    exchange.response_left = response_bytes(stack, flow_index, 0)


@compiled
def forget_read(exchange):
    """Forget what the application has read, or could have, over the last connection of an exchange's record."""
    exchange.served = 0
    exchange.unread_bytes = 0
    exchange.unread_frames = 0
    exchange.read_bytes = 0
    exchange.unserved_bytes = 0


@compiled
def is_last(stack, number):
    """Return whether a connection has no more requests after so many."""
    return stack.requests_per_connection != 0 and number >= stack.requests_per_connection


@compiled
def first_requests(stack, flow_index, now):
    """Ask as much as may be outstanding, on a connection that is open at `now`; return when that is sent."""
    exchange = exchange_of(stack, flow_index)
    if stack.open_loop != 0:
        if exchange.next_start == 0:
            exchange.next_start = now
            _plan_next(stack, flow_index)
        return _ask_as_planned(stack, flow_index, now)
    while exchange.sent < stack.outstanding and not is_last(stack, exchange.sent):
        _ask(stack, flow_index, now)
    return now


@compiled
def receive_response(stack, flow_index, payload_bytes, now):
    """Take payload of responses at `now`, and ask again for each that is complete.

    Returns when the next request is sent, NEVER if there is none.
    """
    exchange = exchange_of(stack, flow_index)
    exchange.response_left -= payload_bytes
    sent_at = NEVER
    while exchange.response_left <= 0 and exchange.answered < exchange.sent:
        started = exchange.started[exchange.answered % MAX_OUTSTANDING]
        latency_ns = (now - started) * 1000 // stack.cycles_per_us
        request_latency_of(stack, bucket_of_value(latency_ns)).value += 1
        stack.requests_answered += 1
        exchange.answered += 1
        exchange.response_left += response_bytes(stack, flow_index, exchange.answered)
        if is_last(stack, exchange.sent):
            continue
        if stack.open_loop != 0:
            sent_at = _ask_as_planned(stack, flow_index, now)
        else:
            sent_at = now + stack.think_cycles
            _ask(stack, flow_index, sent_at)
    return sent_at


@compiled
def _ask(stack, flow_index, start):
    """Put the next request into the client's send buffer. Its latency counts from `start`."""
    exchange = exchange_of(stack, flow_index)
    exchange.started[exchange.sent % MAX_OUTSTANDING] = start
    peer_of(stack, flow_index).send_buffered_bytes += request_bytes(stack, flow_index, exchange.sent)
    exchange.sent += 1
    stack.requests_sent += 1


@compiled
def _ask_as_planned(stack, flow_index, now):
    """Open loop: ask at the intended start, or at once if that has passed; return when."""
    exchange = exchange_of(stack, flow_index)
    start = exchange.next_start
    _ask(stack, flow_index, start)
    _plan_next(stack, flow_index)
    return max(start, now)


@compiled
def _plan_next(stack, flow_index):
    exchange = exchange_of(stack, flow_index)
    number = exchange.first_draw + exchange.sent
    exchange.next_start += interval_of(stack, _draw(stack, flow_index, number, INTERVAL)).value
