"""Records of what the host's stack has many of: connections, exchanges, mbufs, items and queues.

Only layouts are here; `state` has the stack's own record and the tables of these. -1 means "none" in every index field. Knows
no organization.
"""

from typing import Annotated

from netstack.jit.records import Record, i1, i4, i8
from netstack.sim.machine.state import Section

MAX_OUTSTANDING = 8  # requests of a connection that wait for their responses


class Flow(Record):
    """A connection beside its pcb: socket, send buffer (a list of mbufs), and entries in the timer wheel.

    If clients open one connection after the other, those of one client follow each other in the same record. Each has a port of
    its own.
    """

    nic: i4  # the NIC that its segments take
    queue: i4  # the receive queue that the card takes its packets to
    consumer: i4  # the core of its application's last call, -1 before
    app_thread: i4  # the application thread that serves it
    group: i4  # its connection group
    next_expired: i4  # the next connection whose timer expired
    outbound_cycles: i8  # delay from the host's link to the peer
    inbound_cycles: i8  # delay from the peer to the host's link
    acked_bytes: i8  # payload that the peer acknowledged
    written_bytes: i8  # payload that entered the send buffer
    front_bytes: i8  # bytes of the first mbuf that are acknowledged
    first_mbuf: i4  # the oldest of the send buffer
    last_mbuf: i4  # the newest of the send buffer
    next_ready: i4  # the next connection in the event queue
    tick: Annotated[i4, 2]  # by side: the wheel's tick under which it is listed
    next_timer: Annotated[i4, 2]  # by side: the next entry of the tick, 2 x connection + side
    previous_timer: Annotated[i4, 2]  # by side: the previous entry of the tick
    waiting_bytes: i4  # of send requests in queues, for which the send buffer keeps room
    unwritten_bytes: i4  # left for the application to write; above 0 for ever if connections never end
    unread_bytes: i4  # payload that the remote application had not read when the last segment arrived
    read_at: i8  # when it reads that
    network_segments: Annotated[i8, 2]  # by side: segments that it gave to a network that loses some
    callout_before: Annotated[i8, 2]  # by Callout: the connection before it in its list of the callout wheel
    callout_behind: Annotated[i8, 2]  # by Callout: the connection behind it in that list
    callout_tick: Annotated[i8, 2]  # by Callout: the clock's tick in which it was set, -1 before
    section: Section  # of the send buffer's lock
    ready: i1  # 1: in the event queue, or served by its application
    expired: i1  # 1: in the list of connections whose timer expired
    started: i1  # 1: its transfer or its client has begun
    open: i1  # 1: its pcb is in the table
    accepted: i1  # 1: the application has accepted it, or opens it, and has not closed it
    wants_port: i1  # 1: the application waits for a port to open a connection for it
    connecting: i1  # 1: the application has not yet seen that the connection which it opens is complete


class Exchange(Record):
    """What a connection's client has asked and its server has answered, or what a peer sends and a reader reads.

    Of a proxy's connection to a backend only what is read, and the bytes of the request that have not come.
    """

    first_draw: i8  # number of the first request of this connection among the client's
    sent: i8  # requests sent over this connection
    answered: i8  # responses that the client has completely
    served: i8  # responses that the application has begun to write
    response_left: i8  # client: bytes of the next response that have not come; backend: of the request
    next_start: i8  # open loop: intended start of the next request
    unread_bytes: i8  # payload in the receive buffer
    unread_frames: i8  # frames that hold it
    read_bytes: i8  # payload that the application has read, of this connection
    unserved_bytes: i8  # of it, what belongs to no request that was served
    slot: i8  # the receive slot of the last frame
    started: Annotated[i8, MAX_OUTSTANDING]  # intended starts of outstanding requests, by number


class Mbuf(Record):
    """A buffer of the kernel: one send unit of a connection, or the headers of a frame."""

    written_at: i8  # when the application wrote it
    bytes: i4  # payload, if it is in a send buffer
    next: i4  # the next one in the send buffer or the free list


class Item(Record):
    """Work for a connection: a received packet (its segment has the same index), a request or an expired timer."""

    kind: i4  # ItemKind
    flow: i4  # the connection, or the client's record
    next: i4  # the next one in a queue or the pool
    thread: i4  # request: the thread that waits for the answer
    bytes: i4  # request to send: payload; timer: its ports, by which a connection is known from a later one
    mbuf: i4  # request to send: the mbuf of the payload
    slot: i4  # packet: the receive slot whose buffer holds it
    written_at: i8  # request to send: when the application wrote the payload


class Queue(Record):
    """Items in order: a message port, what is on its way to one, a connection's backlog, or what waits for a perimeter."""

    head: i8  # the oldest item
    tail: i8  # the newest item
    count: i8  # items
    thread: i8  # port or perimeter: the thread that is woken for the items
    told: i8  # forwarding: 1 if the owner's core has been interrupted for the items
    section: Section  # of the port's lock


class Held(Record):
    """A packet that is held until the end of a poll, so that following frames of its connection are joined to it."""

    item: i8  # the packet, -1 for none
    segment_bytes: i8  # payload of its first frame
    order: i8  # number among all that are held
    closed: i8  # 1: nothing is joined to it any more


class ReadyQueue(Record):
    """An application thread's event queue: its connections that are ready, in order."""

    head: i8  # the first connection
    tail: i8  # the last connection
    count: i8  # connections
    section: Section  # of the queue's lock


class WheelSlot(Record):
    """A list of the timer wheel."""

    head: i8  # the first entry, 2 x connection + side


class Listener(Record):
    """A listening socket."""

    waiting: i8  # complete connections that no application has accepted
    busy: i8  # 1: marked as busy
    mean: i8  # moving average of the length that new connections find, in 1/65536
    own_accepts: i8  # since its application took a connection from another one, up to where it takes the next
    next_victim: i8  # the application thread that is asked first for a connection
    section: Section  # of its lock


class Pool(Record):
    """Free items. In a windowed simulation each core has a pool, and takes from others if its own is empty.

    Those that were given back are taken first, the last one before the others. The rest was never touched, and takes no memory.
    """

    head: i8  # the item that was given back last, -1 for none
    count: i8  # free items, with those that were never taken
    untouched: i8  # the first item that was never taken


class EphemeralPort(Record):
    """A port of the host for connections to one backend."""

    flow: i8  # the connection that has it, -1 for none


class Late(Record):
    """A segment of the host that the network delays."""

    arrival: i8  # when it reaches the peer, 0 for none


class Counter(Record):
    """A counter of a histogram."""

    value: i8  # how often it was counted


class Sample(Record):
    """A quantile of a distribution."""

    value: i8  # bytes or cycles
