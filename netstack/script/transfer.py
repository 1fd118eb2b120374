"""The system calls that move data: read and write, their variants with vectors and messages, sendfile and splice.

Knows no call that opens or closes. What each platform returns is after socket(2), recv(2), send(2), and both kernels' sources.
"""

from collections.abc import Callable
from typing import Any

from netstack.script.constants import CONSTANTS, evaluate
from netstack.script.descriptors import Descriptor
from netstack.script.host import state_name
from netstack.script.messages import Ancillary, message_of
from netstack.script.results import Progress, Returned, WouldBlockError, failed
from netstack.script.settings import Settings, UnsupportedError
from netstack.script.syntax import Anything, Array, Expression, Struct, SystemCall, Text, Word

MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC = CONSTANTS["MSG_DONTWAIT"], CONSTANTS["MSG_PEEK"], CONSTANTS["MSG_TRUNC"]
MSG_EOR = CONSTANTS["MSG_EOR"]
MSG_WAITALL, MSG_MORE, MSG_ERRQUEUE = CONSTANTS["MSG_WAITALL"], CONSTANTS["MSG_MORE"], CONSTANTS["MSG_ERRQUEUE"]
_SEND_FLAGS = MSG_DONTWAIT | MSG_MORE | MSG_EOR | CONSTANTS["MSG_NOSIGNAL"] | CONSTANTS["MSG_ZEROCOPY"]
_RECEIVE_FLAGS = MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC | MSG_WAITALL | CONSTANTS["MSG_NOSIGNAL"]
_MAXIMUM_WRITE_BYTES = 1 << 28


class TransferCalls:
    """The part of the calls that moves data."""

    settings: Settings
    descriptors: dict[int, Descriptor]
    blocked: Callable[..., Returned]
    ancillary: Ancillary

    def _transferring(self, call: SystemCall) -> Descriptor | None:
        return self.descriptors.get(evaluate(call.arguments[0]))

    # Reading

    def _call_read(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._receive(call, evaluate(call.arguments[2]), call.arguments[1], 0, progress, now_us)

    def _call_recv(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._receive(call, evaluate(call.arguments[2]), call.arguments[1], evaluate(call.arguments[3]), progress, now_us)

    _call_recvfrom = _call_recv

    def _call_readv(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._receive(call, vector_bytes(call.arguments[1]), Anything(), 0, progress, now_us)

    def _call_recvmsg(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        message = message_of(call)
        flags = evaluate(call.arguments[2])
        descriptor = self._transferring(call)
        if descriptor is not None and flags & MSG_ERRQUEUE:
            return self.ancillary.take_error(descriptor, message, now_us)
        vector = message.get("msg_iov") or Array(())
        returned = self._receive(call, vector_bytes(vector), Anything(), flags, progress, now_us)
        if descriptor is None or returned.errno is not None:
            return returned
        return Returned(returned.value, None, (*returned.differences, *self.ancillary.differences(descriptor, message)))

    def _receive(self, call: SystemCall, limit: int, wanted: Expression, flags: int, progress: Progress, now_us: int) -> Returned:
        descriptor = self._transferring(call)
        if descriptor is None:
            return failed("EBADF")
        if descriptor.kind == "pipe":
            data = bytes(descriptor.pipe[:limit])
            del descriptor.pipe[:limit]
            return Returned(len(data))
        if descriptor.socket is None:
            return failed("ENOTCONN")
        socket = descriptor.socket
        if flags & ~_RECEIVE_FLAGS or (flags & MSG_PEEK and not hasattr(socket, "peek")):
            raise UnsupportedError(f"{call.name} with flags {flags:#x}")
        if limit > 0 and socket.unread_bytes > 0 and _is_null(call):
            return failed("EFAULT")
        data = (socket.peek(limit) if flags & MSG_PEEK else socket.receive(limit, now_us)) if limit > 0 else b""
        progress.done += len(data)
        if flags & MSG_WAITALL and progress.done < limit and not socket.at_eof:
            raise WouldBlockError
        if progress.done or limit == 0 or descriptor.read_shut or socket.at_eof:
            return Returned(progress.done, differences=_text_differences(wanted, data))
        if state_name(socket) in ("SYN_SENT", "CLOSED") and not descriptor.connecting:
            return failed("ENOTCONN")
        return self.blocked(descriptor, flags)

    # Writing

    def _call_write(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._send(call, _payload(call.arguments[1], evaluate(call.arguments[2])), 0, progress, now_us)

    def _call_send(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        data = _payload(call.arguments[1], evaluate(call.arguments[2]))
        return self._send(call, data, evaluate(call.arguments[3]), progress, now_us)

    _call_sendto = _call_send

    def _call_writev(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._send(call, bytes(vector_bytes(call.arguments[1])), 0, progress, now_us)

    def _call_sendmsg(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        message = message_of(call)
        control = message.get("msg_control")
        if control is not None and control != Array(()):
            raise UnsupportedError("sendmsg with control messages")
        vector = message.get("msg_iov") or Array(())
        return self._send(call, bytes(vector_bytes(vector)), evaluate(call.arguments[2]), progress, now_us)

    def _call_sendfile(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        if self.settings.platform == "freebsd":
            raise UnsupportedError("sendfile as FreeBSD has it")
        return self._send(call, bytes(_length(call.arguments[3])), 0, progress, now_us)

    def _call_splice(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        source = self.descriptors.get(evaluate(call.arguments[0]))
        target = self.descriptors.get(evaluate(call.arguments[2]))
        length = _length(call.arguments[4])
        if source is None or target is None:
            return failed("EBADF")
        if source.kind == "pipe" and target.socket is not None:
            data = bytes(source.pipe[: length + progress.done])
            returned = self._send_to(call, target, data, 0, progress, now_us)
            del source.pipe[: max(returned.value, 0)]
            return returned
        if target.kind == "pipe" and source.socket is not None:
            data = source.socket.receive(length, now_us)
            if data or source.socket.at_eof or source.read_shut:
                target.pipe.extend(data)
                return Returned(len(data))
            return self.blocked(source)
        raise UnsupportedError("splice between these descriptors")

    def _call_pipe(self, call: SystemCall, _: Progress, __: int) -> Returned:
        ends = call.arguments[0]
        if not isinstance(ends, Array) or len(ends.items) != 2:
            raise UnsupportedError("pipe without two descriptors")
        between = bytearray()
        for number in (evaluate(end) for end in ends.items):
            self.descriptors[number] = Descriptor(number, kind="pipe", pipe=between)
        return Returned(0)

    def _send(self, call: SystemCall, data: bytes, flags: int, progress: Progress, now_us: int) -> Returned:
        descriptor = self._transferring(call)
        if descriptor is None:
            return failed("EBADF")
        if descriptor.kind == "pipe":
            descriptor.pipe.extend(data)
            return Returned(len(data))
        return self._send_to(call, descriptor, data, flags, progress, now_us)

    def _send_to(
        self, call: SystemCall, descriptor: Descriptor, data: bytes, flags: int, progress: Progress, now_us: int
    ) -> Returned:
        if flags & ~_SEND_FLAGS:
            raise UnsupportedError(f"{call.name} with flags {flags:#x}")
        refused = "EFAULT" if data and _is_null(call) else self._refuses_data(descriptor)
        if refused is not None:
            return failed(refused)
        socket = descriptor.socket
        if state_name(socket) == "SYN_SENT" and socket.error is None:
            return self.blocked(descriptor, flags)
        taken = self._write(descriptor, data[progress.done :], flags, now_us)
        progress.done += taken
        descriptor.no_space = progress.done < len(data)
        if progress.done == len(data) or (progress.done and (descriptor.nonblocking or flags & MSG_DONTWAIT)):
            self.ancillary.note_sent(descriptor, progress.done, flags, now_us)
            return Returned(progress.done)
        return self.blocked(descriptor, flags)

    def _write(self, descriptor: Descriptor, data: bytes, flags: int, now_us: int) -> int:
        """Hand data over; with MSG_MORE a short last segment waits for what follows, as with a cork."""
        socket = descriptor.socket
        if flags & MSG_MORE and data:
            descriptor.expects_more = True
            socket.set_option("cork", 1, now_us)
        taken = self._hand_over(socket, data, bool(flags & MSG_EOR), now_us) if data else 0
        if descriptor.expects_more and not flags & MSG_MORE:
            descriptor.expects_more = False
            socket.set_option("cork", int(bool(descriptor.options.get("TCP_CORK", 0))), now_us)
        return taken

    def _hand_over(self, socket: Any, data: bytes, ends_record: bool, now_us: int) -> int:
        if not ends_record:
            return socket.send(data, now_us)
        if self.settings.platform == "freebsd":
            raise UnsupportedError("MSG_EOR as FreeBSD has it")
        return socket.send(data, now_us, ends_record=True)

    def _refuses_data(self, descriptor: Descriptor) -> str | None:
        """The error of a write to a socket that takes none, but for a pending one; FreeBSD looks at the end of sending first."""
        if self.settings.platform == "freebsd":
            if descriptor.write_shut or descriptor.gone:
                return "EPIPE"
            return None if descriptor.connected or (descriptor.socket is not None and descriptor.socket.error) else "ENOTCONN"
        if descriptor.socket is not None:
            return None
        return "ENOTCONN" if descriptor.listener is not None and self.settings.platform == "any" else "EPIPE"


def _is_null(call: SystemCall) -> bool:
    """Whether a call that moves data has no buffer."""
    return call.name in ("read", "recv", "recvfrom", "write", "send", "sendto") and call.arguments[1] == Word("NULL")


def _length(expression: Expression) -> int:
    length = evaluate(expression)
    if not 0 <= length <= _MAXIMUM_WRITE_BYTES:
        raise UnsupportedError(f"moving {length} bytes at once")
    return length


def _payload(buffer: Expression, length: int) -> bytes:
    """What an application writes: the text of the script, else zeros, as packetdrill writes."""
    if length > _MAXIMUM_WRITE_BYTES:
        raise UnsupportedError(f"writing {length} bytes at once")
    text = buffer.value if isinstance(buffer, Text) else b""
    return text[:length] + bytes(max(length - len(text), 0))


def _text_differences(wanted: Expression, data: bytes) -> tuple[str, ...]:
    if not isinstance(wanted, Text):
        return ()
    same = data.startswith(wanted.value) if wanted.open_ended else data == wanted.value
    return () if same else (f"the data is {data[:40]!r}, expected {wanted.value[:40]!r}",)


def vector_bytes(vector: Expression) -> int:
    """Return the bytes of an array of iovec.

    Raises:
        UnsupportedError: It is none, or too long.
    """
    if not isinstance(vector, Array):
        raise UnsupportedError("an array of iovec that is none")
    total = 0
    for item in vector.items:
        if not isinstance(item, Struct) or len(item.fields) != 2:
            raise UnsupportedError("an iovec that is none")
        total += evaluate(item.fields[1].value)
    if not 0 <= total <= _MAXIMUM_WRITE_BYTES:
        raise UnsupportedError(f"an array of iovec of {total} bytes")
    return total


def names_and_numbers(expression: Expression) -> tuple[set[str], list[int]]:
    """Return the flags that are or-ed, by name and by number."""
    if isinstance(expression, Word):
        return {expression.name}, []
    value = getattr(expression, "value", None)
    if isinstance(value, int):
        return set(), [value]
    names, numbers = set(), []
    for part in (getattr(expression, "left", None), getattr(expression, "right", None)):
        if part is not None:
            more_names, more_numbers = names_and_numbers(part)
            names |= more_names
            numbers += more_numbers
    return names, numbers
