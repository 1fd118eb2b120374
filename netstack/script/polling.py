"""The system calls that wait for several descriptors: poll and epoll. Knows no call that moves data.

What a socket reports is after tcp_poll() of Linux and sopoll_generic() of FreeBSD.
"""

from typing import Any

from netstack.script.constants import CONSTANTS, evaluate
from netstack.script.descriptors import Descriptor, Interest
from netstack.script.host import state_name
from netstack.script.messages import Ancillary
from netstack.script.results import Progress, Returned, WouldBlockError, failed
from netstack.script.settings import Settings, UnsupportedError
from netstack.script.syntax import Anything, Array, Expression, Number, Struct, SystemCall

IN, OUT, ERR, HUP, RDHUP = (CONSTANTS[f"POLL{name}"] for name in ("IN", "OUT", "ERR", "HUP", "RDHUP"))
READ_EVENTS, WRITE_EVENTS = IN | CONSTANTS["POLLRDNORM"], OUT | CONSTANTS["POLLWRNORM"]
EPOLLET, EPOLLONESHOT = CONSTANTS["EPOLLET"], CONSTANTS["EPOLLONESHOT"]


class PollCalls:
    """The part of the calls that waits."""

    settings: Settings
    descriptors: dict[int, Descriptor]
    ancillary: Ancillary

    def _call_poll(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        entries = call.arguments[0]
        if not isinstance(entries, Array):
            raise UnsupportedError("poll without an array")
        ready, differences = 0, []
        for entry in entries.items:
            if not isinstance(entry, Struct) or entry.get("fd") is None:
                raise UnsupportedError("poll with an entry that is no pollfd")
            number = evaluate(entry.get("fd") or Number(-1, "-1"))
            found = self._poll_events(self.descriptors.get(number), evaluate(entry.get("events") or Number(0, "0")))
            ready += found != 0
            expected = entry.get("revents")
            if expected is not None and not isinstance(expected, Anything) and evaluate(expected) != found:
                differences.append(f"revents of {number} is {found:#x}, expected {evaluate(expected):#x}")
        self._may_wait(ready, evaluate(call.arguments[2]), progress, now_us)
        return Returned(ready, differences=tuple(differences))

    def _may_wait(self, ready: int, timeout_ms: int, progress: Progress, now_us: int) -> None:
        """Block while nothing is ready and the time is not up."""
        if ready == 0 and timeout_ms != 0:
            if timeout_ms > 0:
                progress.deadline_us = progress.started_us + timeout_ms * 1000
            if progress.deadline_us is None or now_us < progress.deadline_us:
                raise WouldBlockError

    def _poll_events(self, descriptor: Descriptor | None, wanted: int) -> int:
        if descriptor is None:
            return CONSTANTS["POLLNVAL"]
        if descriptor.listener is not None:
            pending = getattr(descriptor.listener, "readable", None)
            if pending is None:
                raise UnsupportedError("poll of a listening socket")
            return wanted & READ_EVENTS if pending else 0
        if descriptor.socket is None:
            if self.settings.platform == "freebsd":
                return 0
            return HUP | (wanted & WRITE_EVENTS)
        events = self._events_as_freebsd(descriptor) if self.settings.platform == "freebsd" else self._events(descriptor)
        return events & (wanted | ERR | HUP)

    def _events(self, descriptor: Descriptor) -> int:
        socket = descriptor.socket
        state = state_name(socket)
        no_more_in = descriptor.read_shut or socket.finished or state == "CLOSED"
        no_more_out = descriptor.write_shut or state == "CLOSED"
        events = 0
        if state not in ("SYN_SENT", "SYN_RECEIVED"):
            if socket.unread_bytes >= int(descriptor.options.get("SO_RCVLOWAT", 1)):
                events |= READ_EVENTS
            if no_more_out or self._writable(descriptor):
                events |= WRITE_EVENTS
        if no_more_in:
            events |= READ_EVENTS | RDHUP
        if no_more_in and (no_more_out or state == "CLOSED"):
            events |= HUP
        if socket.error is not None or self.ancillary.pending(descriptor):
            events |= ERR | (READ_EVENTS | WRITE_EVENTS if socket.error is not None else 0)
        return events

    def _writable(self, descriptor: Descriptor) -> bool:
        socket = descriptor.socket
        if not socket.writable:
            return False
        low_water = int(descriptor.options.get("TCP_NOTSENT_LOWAT", 0))
        return low_water == 0 or socket.unsent_bytes < low_water

    def _events_as_freebsd(self, descriptor: Descriptor) -> int:
        socket = descriptor.socket
        no_more_in = descriptor.read_shut or socket.finished or descriptor.gone
        no_more_out = descriptor.write_shut or descriptor.gone
        events = 0
        if no_more_in or socket.unread_bytes >= int(descriptor.options.get("SO_RCVLOWAT", 1)) or socket.error is not None:
            events |= READ_EVENTS
        if no_more_out or socket.writable or socket.error is not None:
            events |= WRITE_EVENTS
        if no_more_in:
            events |= RDHUP
        if no_more_in and no_more_out:
            events |= HUP
            events &= ~WRITE_EVENTS  # POLLHUP and POLLOUT exclude each other (poll(2))
        return events

    # epoll

    def _call_epoll_create(self, call: SystemCall, _: Progress, __: int) -> Returned:
        number = evaluate(call.result)
        if number < 0:
            return failed("EINVAL")
        self.descriptors[number] = Descriptor(number, kind="epoll")
        return Returned(number)

    _call_epoll_create1 = _call_epoll_create

    def _call_epoll_ctl(self, call: SystemCall, _: Progress, __: int) -> Returned:
        epoll = self.descriptors.get(evaluate(call.arguments[0]))
        operation, number = evaluate(call.arguments[1]), evaluate(call.arguments[2])
        if epoll is None or number not in self.descriptors:
            return failed("EBADF")
        if epoll.kind != "epoll" or number == epoll.number:
            return failed("EINVAL")
        known = number in epoll.interests
        if operation == CONSTANTS["EPOLL_CTL_DEL"]:
            return Returned(0) if epoll.interests.pop(number, None) else failed("ENOENT")
        if operation == CONSTANTS["EPOLL_CTL_ADD"] and known:
            return failed("EEXIST")
        if operation == CONSTANTS["EPOLL_CTL_MOD"] and not known:
            return failed("ENOENT")
        event = _event_of(call.arguments[3])
        data = next((field.value for field in event.fields if field.name in ("fd", "ptr", "u32", "u64")), None)
        epoll.interests[number] = Interest(evaluate(event.get("events") or Number(0, "0")), data and evaluate(data))
        return Returned(0)

    def _call_epoll_wait(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        epoll = self.descriptors.get(evaluate(call.arguments[0]))
        if epoll is None:
            return failed("EBADF")
        if epoll.kind != "epoll" or evaluate(call.arguments[2]) <= 0:
            return failed("EINVAL")
        found = self._ready(epoll)[: evaluate(call.arguments[2])]
        self._may_wait(len(found), evaluate(call.arguments[3]), progress, now_us)
        for interest, _, activity in found:
            interest.seen = activity
            interest.disabled = bool(interest.events & EPOLLONESHOT)
        return Returned(len(found), differences=tuple(_event_differences(call.arguments[1], found)))

    _call_epoll_pwait = _call_epoll_wait

    def _ready(self, epoll: Descriptor) -> list[tuple[Interest, int, object]]:
        ready = []
        for number, interest in list(epoll.interests.items()):
            descriptor = self.descriptors.get(number)
            if descriptor is None:
                del epoll.interests[number]  # it was closed
                continue
            events = self._poll_events(descriptor, interest.events & ~(EPOLLET | EPOLLONESHOT))
            activity = self._activity(descriptor, events)
            edge = not interest.events & EPOLLET or activity != interest.seen
            if events and edge and not interest.disabled:
                ready.append((interest, events, activity))
            elif interest.events & EPOLLET and not events:
                interest.seen = activity
        return ready

    def _activity(self, descriptor: Descriptor, events: int) -> object:
        """What wakes those who wait for edges: data that came, and changes of everything else."""
        pcb: Any = getattr(descriptor.socket, "pcb", None)
        received = int(pcb["rcv_nxt"]) if pcb is not None else getattr(descriptor.listener, "arrived", 0)
        return received, events & ~READ_EVENTS, descriptor.state if events & (HUP | RDHUP) else ""


def _event_of(argument: Expression) -> Struct:
    if not isinstance(argument, Struct):
        raise UnsupportedError("an epoll_event that is none")
    return argument


def _event_differences(expected: Expression, found: list[tuple[Interest, int, object]]) -> list[str]:
    if isinstance(expected, Anything):
        return []
    wanted = list(expected.items) if isinstance(expected, Array) else [expected]
    problems = []
    for item, (interest, events, _) in zip(wanted, found, strict=False):
        event = _event_of(item)
        expected_events = event.get("events")
        if expected_events is not None and not isinstance(expected_events, Anything) and evaluate(expected_events) != events:
            problems.append(f"events is {events:#x}, expected {evaluate(expected_events):#x}")
        data = next((field.value for field in event.fields if field.name in ("fd", "ptr", "u32", "u64")), None)
        if data is not None and not isinstance(data, Anything) and evaluate(data) != interest.data:
            problems.append(f"data is {interest.data}, expected {evaluate(data)}")
    return problems
