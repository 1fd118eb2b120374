"""System calls of scripts, made on an endpoint's sockets.

A call or an argument that is not known is unsupported, and never guessed. Knows no packet; time comes from the interpreter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from netstack.script.connection import Connection, Phase
from netstack.script.constants import CONSTANTS, evaluate
from netstack.script.descriptors import Descriptor
from netstack.script.host import Backend, state_name
from netstack.script.options import OptionCalls
from netstack.script.results import Progress, Returned, WouldBlockError, errno_of, failed
from netstack.script.settings import Settings, UnsupportedError
from netstack.script.syntax import Anything, Array, Call, Expression, Number, Struct, SystemCall, Text, Word

_SEND_FLAGS = CONSTANTS["MSG_DONTWAIT"] | CONSTANTS["MSG_NOSIGNAL"] | CONSTANTS["MSG_ZEROCOPY"]
_MAXIMUM_WRITE_BYTES = 1 << 28
_RECEIVE_FLAGS = CONSTANTS["MSG_DONTWAIT"] | CONSTANTS["MSG_TRUNC"] | CONSTANTS["MSG_NOSIGNAL"]


@dataclass
class Calls(OptionCalls):
    """The calls of one script on one endpoint."""

    settings: Settings
    backend: Backend
    endpoint: Callable[[], Any]
    """Makes the endpoint when it is needed first, so that commands before it can change its settings."""
    watch: Callable[[Connection], None]
    """Gets the connection that packets are about from now on."""
    descriptors: dict[int, Descriptor] = field(default_factory=dict)

    def run(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        """Make a call, or go on with one that blocked.

        Raises:
            UnsupportedError: The call or an argument is not supported.
            WouldBlockError: It cannot return yet.
        """
        handler = getattr(self, f"_call_{call.name}", None)
        if handler is None:
            raise UnsupportedError(f"system call {call.name}")
        try:
            return handler(call, progress, now_us)
        except IndexError:
            raise UnsupportedError(f"{call.name} with {len(call.arguments)} arguments") from None
        except OSError as error:
            return failed(errno_of(error))

    def _descriptor(self, call: SystemCall) -> Descriptor | None:
        return self.descriptors.get(evaluate(call.arguments[0]))

    def _script_number(self, call: SystemCall) -> int:
        """The number that the script gives a new descriptor, whatever the next free one is."""
        number = evaluate(call.result)
        return number if number >= 0 else max(self.descriptors, default=2) + 1

    def _call_socket(self, call: SystemCall, _: Progress, __: int) -> Returned:
        domain, kind, protocol = call.arguments
        if not isinstance(domain, Anything) and evaluate(domain) not in (CONSTANTS["AF_INET"], CONSTANTS["AF_INET6"]):
            raise UnsupportedError("socket of a family other than IPv4 and IPv6")
        flags = evaluate(kind)
        nonblocking = bool(flags & CONSTANTS["SOCK_NONBLOCK"])
        flags &= ~(CONSTANTS["SOCK_NONBLOCK"] | CONSTANTS["SOCK_CLOEXEC"])
        if flags != CONSTANTS["SOCK_STREAM"] or evaluate(protocol) not in (CONSTANTS["IPPROTO_TCP"], CONSTANTS["IPPROTO_IP"]):
            raise UnsupportedError("socket of another kind than TCP")
        number = self._script_number(call)
        self.descriptors[number] = Descriptor(number, nonblocking)
        return Returned(number)

    def _address(self, argument: Expression, host: str, port: int) -> Any:
        if isinstance(argument, Anything):
            return self.backend.address(host, port)
        if not isinstance(argument, Struct):
            raise UnsupportedError(f"address {argument}")
        given_host, given_port = argument.get("sin_addr"), argument.get("sin_port")
        if isinstance(given_port, Call) and given_port.name == "htons" and len(given_port.arguments) == 1:
            port = evaluate(given_port.arguments[0])
        if isinstance(given_host, Call) and given_host.name.startswith("inet") and len(given_host.arguments) == 1:
            text = given_host.arguments[0]
            if isinstance(text, Text) and text.value.decode() not in ("0.0.0.0", "::"):
                host = text.value.decode()
        return self.backend.address(host, port)

    def _call_bind(self, call: SystemCall, _: Progress, __: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        if descriptor.local is not None:
            return failed("EINVAL")
        descriptor.local = self._address(call.arguments[1], self.settings.local_address, self.settings.bind_port)
        return Returned(0)

    def _call_listen(self, call: SystemCall, _: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        if descriptor.socket is not None:
            return failed("EINVAL")
        local = descriptor.local or self.backend.address(self.settings.local_address, self.settings.bind_port)
        if descriptor.listener is None:
            descriptor.listener = self.endpoint().listen(local, backlog=evaluate(call.arguments[1]))
            self.apply_options(descriptor, descriptor.listener, now_us)
        self.watch(self._connection(Phase.LISTENING, local.port))
        return Returned(0)

    def _connection(self, phase: Phase, local_port: int | None, remote: Any = None) -> Connection:
        host, port = (remote.host, remote.port) if remote is not None else (self.settings.remote_address, 0)
        return Connection(phase, self.settings.local_address, host, local_port, port)

    def _call_accept(self, call: SystemCall, _: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        if descriptor.listener is None:
            return failed("EINVAL")
        socket = descriptor.listener.accept()
        if socket is None:
            return self._blocked(descriptor)
        flags = evaluate(call.arguments[3]) if len(call.arguments) > 3 else 0
        number = self._script_number(call)
        nonblocking = bool(flags & CONSTANTS["SOCK_NONBLOCK"])
        self.descriptors[number] = Descriptor(number, nonblocking, socket=socket, options=dict(descriptor.options))
        return Returned(number)

    _call_accept4 = _call_accept

    def _blocked(self, descriptor: Descriptor, flags: int = 0) -> Returned:
        if descriptor.nonblocking or flags & CONSTANTS["MSG_DONTWAIT"]:
            return failed("EAGAIN")
        raise WouldBlockError

    def _call_connect(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        if descriptor.listener is not None:
            return failed("EISCONN")
        if descriptor.socket is None:
            remote = self._address(call.arguments[1], self.settings.remote_address, self.settings.connect_port)
            self.watch(self._connection(Phase.CONNECTING, descriptor.local.port if descriptor.local else None, remote))
            descriptor.socket = self.connect_with_options(descriptor, remote, now_us)
            descriptor.connecting = progress.started = True
        elif not progress.started:
            if not descriptor.connecting:
                return failed("EISCONN")
            if state_name(descriptor.socket) in ("SYN_SENT", "SYN_RECEIVED"):
                return failed("EALREADY")
            if self.settings.platform == "freebsd":
                return failed("EISCONN")  # Linux says once that it is connected now
            progress.started = True
        elif descriptor.nonblocking:
            return failed("EINPROGRESS")
        return self._connected(descriptor)

    def _connected(self, descriptor: Descriptor) -> Returned:
        socket = descriptor.socket
        if socket.error is not None:
            descriptor.connecting = False
            return failed(errno_of(self.take_error(descriptor)))
        if state_name(socket) in ("SYN_SENT", "SYN_RECEIVED"):
            if descriptor.nonblocking:
                return failed("EINPROGRESS")
            raise WouldBlockError
        descriptor.connecting = False
        return Returned(0)

    def _call_read(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._receive(call, evaluate(call.arguments[2]), call.arguments[1], 0, progress, now_us)

    def _call_recv(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._receive(call, evaluate(call.arguments[2]), call.arguments[1], evaluate(call.arguments[3]), progress, now_us)

    _call_recvfrom = _call_recv

    def _call_readv(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._receive(call, _vector_bytes(call.arguments[1]), Anything(), 0, progress, now_us)

    def _call_recvmsg(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        vector, flags = _message(call)
        return self._receive(call, _vector_bytes(vector), Anything(), flags, progress, now_us)

    def _receive(self, call: SystemCall, limit: int, wanted: Expression, flags: int, progress: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        if descriptor.socket is None:
            return failed("ENOTCONN")
        socket = descriptor.socket
        peek = bool(flags & CONSTANTS["MSG_PEEK"])
        if flags & ~(_RECEIVE_FLAGS | CONSTANTS["MSG_PEEK"] | CONSTANTS["MSG_WAITALL"]) or (peek and not hasattr(socket, "peek")):
            raise UnsupportedError(f"{call.name} with flags {flags:#x}")
        data = (socket.peek(limit) if peek else socket.receive(limit, now_us)) if limit > 0 else b""
        progress.done += len(data)
        if flags & CONSTANTS["MSG_WAITALL"] and progress.done < limit and not socket.at_eof:
            raise WouldBlockError
        if progress.done or limit == 0 or descriptor.read_shut or socket.at_eof:
            return Returned(progress.done, differences=_text_differences(wanted, data))
        if state_name(socket) in ("SYN_SENT", "CLOSED") and not descriptor.connecting:
            return failed("ENOTCONN")
        return self._blocked(descriptor, flags)

    def _call_write(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._send(call, _payload(call.arguments[1], evaluate(call.arguments[2])), 0, progress, now_us)

    def _call_send(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        data = _payload(call.arguments[1], evaluate(call.arguments[2]))
        return self._send(call, data, evaluate(call.arguments[3]), progress, now_us)

    _call_sendto = _call_send

    def _call_writev(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        return self._send(call, bytes(_vector_bytes(call.arguments[1])), 0, progress, now_us)

    def _call_sendmsg(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        vector, flags = _message(call)
        return self._send(call, bytes(_vector_bytes(vector)), flags, progress, now_us)

    def _send(self, call: SystemCall, data: bytes, flags: int, progress: Progress, now_us: int) -> Returned:
        if flags & ~_SEND_FLAGS:
            raise UnsupportedError(f"{call.name} with flags {flags:#x}")
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        if descriptor.socket is None:
            return failed("EPIPE" if descriptor.listener is None else "ENOTCONN")
        if state_name(descriptor.socket) == "SYN_SENT" and descriptor.socket.error is None:
            return self._blocked(descriptor, flags)
        progress.done += descriptor.socket.send(data[progress.done :], now_us) if data else 0
        if progress.done == len(data):
            return Returned(progress.done)
        if progress.done and (descriptor.nonblocking or flags & CONSTANTS["MSG_DONTWAIT"]):
            return Returned(progress.done)
        return self._blocked(descriptor, flags)

    def _call_shutdown(self, call: SystemCall, _: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        how = evaluate(call.arguments[1])
        if descriptor.socket is None or state_name(descriptor.socket) == "CLOSED":
            return failed("ENOTCONN")
        descriptor.read_shut = descriptor.read_shut or how in (CONSTANTS["SHUT_RD"], CONSTANTS["SHUT_RDWR"])
        if how in (CONSTANTS["SHUT_WR"], CONSTANTS["SHUT_RDWR"]):
            descriptor.socket.shutdown(now_us)
        return Returned(0)

    def _call_close(self, call: SystemCall, _: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        del self.descriptors[descriptor.number]
        if descriptor.listener is not None:
            descriptor.listener.close(now_us)
        if descriptor.socket is not None:
            descriptor.socket.close(now_us)
        return Returned(0)

    def _call_fcntl(self, call: SystemCall, _: Progress, __: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        nonblock = 4 if self.settings.platform == "freebsd" else CONSTANTS["O_NONBLOCK"]  # where the number itself is compared
        match evaluate(call.arguments[1]):
            case 3:
                return Returned(CONSTANTS["O_RDWR"] | (nonblock if descriptor.nonblocking else 0))
            case 4:
                named, numbers = _names_and_numbers(call.arguments[2])
                descriptor.nonblocking = "O_NONBLOCK" in named or any(number & nonblock for number in numbers)
                return Returned(0)
            case 1 | 2:
                return Returned(0)
        raise UnsupportedError(f"fcntl with {call.arguments[1]}")

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
        timeout_ms = evaluate(call.arguments[2])
        if ready == 0 and timeout_ms != 0:
            if timeout_ms > 0:
                progress.deadline_us = progress.started_us + timeout_ms * 1000
            if progress.deadline_us is None or now_us < progress.deadline_us:
                raise WouldBlockError
        return Returned(ready, differences=tuple(differences))

    def _poll_events(self, descriptor: Descriptor | None, wanted: int) -> int:
        if descriptor is None:
            return CONSTANTS["POLLNVAL"]
        if descriptor.listener is not None:
            pending = getattr(descriptor.listener, "readable", None)
            if pending is None:
                raise UnsupportedError("poll of a listening socket")
            return wanted & CONSTANTS["POLLIN"] if pending else 0
        socket = descriptor.socket
        if socket is None:
            return CONSTANTS["POLLHUP"] | (wanted & CONSTANTS["POLLOUT"])
        hung_up = state_name(socket) == "CLOSED"
        found = wanted & CONSTANTS["POLLIN"] if socket.readable or socket.at_eof or socket.error else 0
        found |= wanted & CONSTANTS["POLLOUT"] if socket.writable or socket.error or hung_up else 0
        found |= wanted & CONSTANTS["POLLRDHUP"] if socket.at_eof or hung_up else 0
        return found | (CONSTANTS["POLLERR"] if socket.error else 0) | (CONSTANTS["POLLHUP"] if hung_up else 0)

    def _call_getsockname(self, call: SystemCall, _: Progress, __: int) -> Returned:
        return failed("EBADF") if self._descriptor(call) is None else Returned(0)

    def _call_getpeername(self, call: SystemCall, _: Progress, __: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        return failed("ENOTCONN") if descriptor.socket is None else Returned(0)


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


def _vector_bytes(vector: Expression) -> int:
    """The bytes of an array of iovec."""
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


def _message(call: SystemCall) -> tuple[Expression, int]:
    """The vector and the flags of sendmsg or recvmsg."""
    message = call.arguments[1]
    vector = message.get("msg_iov") if isinstance(message, Struct) else None
    if vector is None or not isinstance(message, Struct):
        raise UnsupportedError(f"{call.name} without msg_iov")
    control = message.get("msg_control")
    if control is not None and control != Array(()):
        raise UnsupportedError(f"{call.name} with control messages")
    return vector, evaluate(call.arguments[2])


def _names_and_numbers(expression: Expression) -> tuple[set[str], list[int]]:
    """The flags that are or-ed, by name and by number."""
    if isinstance(expression, Word):
        return {expression.name}, []
    if isinstance(expression, Number):
        return set(), [expression.value]
    names, numbers = set(), []
    for part in (getattr(expression, "left", None), getattr(expression, "right", None)):
        if part is not None:
            more_names, more_numbers = _names_and_numbers(part)
            names |= more_names
            numbers += more_numbers
    return names, numbers
