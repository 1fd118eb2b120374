"""What comes with messages beside their data: control messages of recvmsg, and the queue of errors with Linux's reports.

Knows the descriptors and what a connection has sent and acknowledged; makes no call.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from netstack.script.constants import CONSTANTS, evaluate
from netstack.script.descriptors import Descriptor
from netstack.script.results import Returned, failed
from netstack.script.settings import Settings, UnsupportedError
from netstack.script.syntax import Anything, Array, Expression, Struct, SystemCall

_MODULUS = 1 << 32
_TX_SOFTWARE, _OPT_ID = CONSTANTS["SOF_TIMESTAMPING_TX_SOFTWARE"], CONSTANTS["SOF_TIMESTAMPING_OPT_ID"]
_TX_SCHED, _TX_ACK = CONSTANTS["SOF_TIMESTAMPING_TX_SCHED"], CONSTANTS["SOF_TIMESTAMPING_TX_ACK"]
_TS_ONLY = CONSTANTS["SOF_TIMESTAMPING_OPT_TSONLY"]
_ORIGIN_TIMESTAMPING, _ORIGIN_ZEROCOPY = 4, 5  # linux/errqueue.h
_COPIED = 1  # SO_EE_CODE_ZEROCOPY_COPIED: a tun device copies what leaves by it

ControlMessage = dict[str, Any]
"""Level, type and data of a control message; the data is a number, or numbers by name."""


def message_of(call: SystemCall) -> Struct:
    """Return the msghdr of sendmsg or recvmsg.

    Raises:
        UnsupportedError: It is no structure, or has no vector.
    """
    message = call.arguments[1]
    if not isinstance(message, Struct) or message.get("msg_iov") is None:
        raise UnsupportedError(f"{call.name} without msg_iov")
    return message


@dataclass
class _Report:
    """Something to report when the byte with the number before `end_seq` is sent, or acknowledged."""

    end_seq: int
    on_ack: bool
    error: ControlMessage
    stamped: bool
    """Whether the time belongs to it."""


@dataclass
class Ancillary:
    """Control messages and error queues of all descriptors of a script."""

    settings: Settings
    _queues: dict[int, deque[list[ControlMessage]]] = field(default_factory=dict)
    _waiting: dict[int, tuple[Any, list[_Report]]] = field(default_factory=dict)
    _first_keys: dict[int, int] = field(default_factory=dict)
    _zerocopies: dict[int, int] = field(default_factory=dict)

    def begin_keys(self, descriptor: Descriptor) -> None:
        """Count timestamps by bytes from here on (SOF_TIMESTAMPING_OPT_ID)."""
        if descriptor.socket is not None:
            self._first_keys[descriptor.number] = int(descriptor.socket.pcb["snd_una"])

    def pending(self, descriptor: Descriptor) -> bool:
        """Whether a report waits in the error queue."""
        return bool(self._queues.get(descriptor.number))

    def note_sent(self, descriptor: Descriptor, count: int, flags: int, now_us: int) -> None:
        """Note a write that has taken `count` bytes: it may have to be reported."""
        zerocopy = flags & CONSTANTS["MSG_ZEROCOPY"] and descriptor.options.get("SO_ZEROCOPY")
        stamps = int(descriptor.options.get("SO_TIMESTAMPING", 0))
        if not count or not (zerocopy or stamps & (_TX_SOFTWARE | _TX_SCHED | _TX_ACK)):
            return
        pcb = descriptor.socket.pcb
        end_seq = (int(pcb["snd_una"]) + int(pcb["send_buffered_bytes"])) % _MODULUS
        reports = self._waiting.setdefault(descriptor.number, (descriptor.socket, []))[1]
        if zerocopy:
            number = self._zerocopies.get(descriptor.number, 0)
            self._zerocopies[descriptor.number] = number + 1
            error = _error(0, _ORIGIN_ZEROCOPY, _COPIED, number, number)
            reports.append(_Report(end_seq, True, error, False))
        key = (end_seq - 1 - self._first_keys.get(descriptor.number, 0)) % _MODULUS if stamps & _OPT_ID else 0
        for flag, kind, on_ack in ((_TX_SCHED, 1, False), (_TX_SOFTWARE, 0, False), (_TX_ACK, 2, True)):
            if stamps & flag:
                error = _error(CONSTANTS["ENOMSG"], _ORIGIN_TIMESTAMPING, 0, kind, key)
                reports.append(_Report(end_seq, on_ack, error, True))
        self.observe(now_us)

    def observe(self, now_us: int) -> None:
        """Queue the reports of what has been sent or acknowledged by now."""
        for number, (socket, reports) in self._waiting.items():
            pcb = socket.pcb
            for report in list(reports):
                reached = int(pcb["snd_una"] if report.on_ack else pcb["snd_max"])
                if (reached - report.end_seq) % _MODULUS < _MODULUS // 2:
                    reports.remove(report)
                    self._queue(number, report, now_us)

    def _queue(self, number: int, report: _Report, now_us: int) -> None:
        queue = self._queues.setdefault(number, deque())
        level = ("SOL_IPV6", "IPV6_RECVERR") if self.settings.ip_version == 6 else ("SOL_IP", "IP_RECVERR")
        error = {"level": CONSTANTS[level[0]], "type": CONSTANTS[level[1]], "data": report.error}
        if report.stamped:
            stamp = {"scm_sec": now_us // 1_000_000, "scm_nsec": now_us % 1_000_000 * 1000}
            queue.append([{"level": CONSTANTS["SOL_SOCKET"], "type": CONSTANTS["SCM_TIMESTAMPING"], "data": stamp}, error])
            return
        last = queue[-1][0]["data"] if queue and len(queue[-1]) == 1 else None
        if last is not None and last["ee_data"] + 1 == report.error["ee_info"]:
            last["ee_data"] = report.error["ee_data"]  # one report of consecutive writes
        else:
            queue.append([error])

    def take_error(self, descriptor: Descriptor, message: Struct, now_us: int) -> Returned:
        """Return the first report of the error queue, compared with what the script expects."""
        queue = self._queues.get(descriptor.number)
        if not queue:
            return failed("EAGAIN")
        found = queue.popleft()
        if len(found) > 1 and not int(descriptor.options.get("SO_TIMESTAMPING", 0)) & _TS_ONLY:
            raise UnsupportedError("a timestamp with the packet that it is about")
        return Returned(0, differences=tuple(self._compare(message, found)))

    def differences(self, descriptor: Descriptor, message: Struct) -> list[str]:
        """Return how the control messages with data that was read differ from what the script expects."""
        found: list[ControlMessage] = []
        if descriptor.options.get("TCP_INQ"):
            waiting = descriptor.socket.unread_bytes + int(descriptor.socket.finished)
            found.append({"level": CONSTANTS["SOL_TCP"], "type": CONSTANTS["TCP_CM_INQ"], "data": waiting})
        return self._compare(message, found)

    def _compare(self, message: Struct, found: list[ControlMessage]) -> list[str]:
        expected = message.get("msg_control")
        if expected is None or isinstance(expected, Anything):
            return []
        if not isinstance(expected, Array):
            raise UnsupportedError("msg_control that is no array")
        if len(expected.items) != len(found):
            return [f"there are {len(found)} control messages, expected {len(expected.items)}"]
        problems = []
        for item, actual in zip(expected.items, found, strict=True):
            if not isinstance(item, Struct):
                raise UnsupportedError("a control message that is no structure")
            for name in ("level", "type", "data"):
                wanted = item.get(f"cmsg_{name}")
                if wanted is not None and not isinstance(wanted, Anything):
                    problems += self._data_differences(f"cmsg_{name}", wanted, actual[name])
        return problems

    def _data_differences(self, name: str, wanted: Expression, actual: Any) -> list[str]:
        if not isinstance(wanted, Struct):
            value = evaluate(wanted)
            return [] if value == actual else [f"{name} is {actual}, expected {value}"]
        if "scm_sec" in actual:
            seconds, nanoseconds = (evaluate(wanted.get(part) or Array(())) for part in ("scm_sec", "scm_nsec"))
            late_ns = abs((seconds - actual["scm_sec"]) * 10**9 + nanoseconds - actual["scm_nsec"])
            stamp = f"{actual['scm_sec']}.{actual['scm_nsec']:09d}"
            return [] if late_ns <= self.settings.tolerance_us * 1000 else [f"the timestamp is {stamp}"]
        problems = []
        for field_ in wanted.fields:
            if field_.name is not None and not isinstance(field_.value, Anything):
                problems += self._data_differences(field_.name, field_.value, actual.get(field_.name))
        return problems


def _error(number: int, origin: int, code: int, info: int, data: int) -> ControlMessage:
    return {"ee_errno": number, "ee_origin": origin, "ee_type": 0, "ee_code": code, "ee_info": info, "ee_data": data}
