"""System calls of scripts, made on an endpoint's sockets.

A call or an argument that is not known is unsupported, and never guessed. Knows no packet; time comes from the interpreter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from netstack.script.connection import Connection, Phase
from netstack.script.constants import CONSTANTS, evaluate
from netstack.script.descriptors import CONNECTING_STATES, Descriptor
from netstack.script.host import Backend, state_name
from netstack.script.messages import Ancillary
from netstack.script.options import OptionCalls
from netstack.script.polling import PollCalls
from netstack.script.results import Progress, Returned, WouldBlockError, errno_of, failed
from netstack.script.settings import Settings, StackSettings, UnsupportedError
from netstack.script.syntax import Anything, Call, Expression, Struct, SystemCall, Text
from netstack.script.transfer import TransferCalls, names_and_numbers


@dataclass
class Calls(OptionCalls, TransferCalls, PollCalls):
    """The calls of one script on one endpoint."""

    settings: Settings
    backend: Backend
    endpoint: Callable[[], Any]
    """Makes the endpoint when it is needed first, so that commands before it can change its settings."""
    watch: Callable[[Connection], None]
    """Gets the connection that packets are about from now on."""
    change: Callable[[StackSettings], None]
    """Gives the stack new settings, for connections that are opened from now on."""
    ancillary: Ancillary
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
        if descriptor.listener is not None or descriptor.socket is not None:
            return failed("EINVAL")
        local = self._address(call.arguments[1], self.settings.local_address, self.settings.bind_port)
        if any(self._conflicts(descriptor, other) for other in self.descriptors.values() if other.local == local):
            return failed("EADDRINUSE")
        descriptor.local = local
        return Returned(0)

    def _conflicts(self, descriptor: Descriptor, other: Descriptor) -> bool:
        """Whether two sockets may not be bound to the same address and port (socket(7); SO_REUSEPORT only, for FreeBSD)."""
        shared = [name for name in ("SO_REUSEADDR", "SO_REUSEPORT") if descriptor.options.get(name) and other.options.get(name)]
        if self.settings.platform == "freebsd":
            return "SO_REUSEPORT" not in shared
        return "SO_REUSEPORT" not in shared and ("SO_REUSEADDR" not in shared or other.listener is not None)

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
            return self.blocked(descriptor)
        if self.settings.platform == "freebsd" and state_name(socket) in ("CLOSED", "TIME_WAIT"):
            return failed("ECONNABORTED")  # what Linux returns, and reports its error later
        flags = evaluate(call.arguments[3]) if len(call.arguments) > 3 else 0
        number = self._script_number(call)
        nonblocking = bool(flags & CONSTANTS["SOCK_NONBLOCK"])
        self.descriptors[number] = Descriptor(number, nonblocking, socket=socket, options=dict(descriptor.options))
        return Returned(number)

    _call_accept4 = _call_accept

    def blocked(self, descriptor: Descriptor, flags: int = 0) -> Returned:
        """Return what a call that would block returns at once.

        Raises:
            WouldBlockError: It may block.
        """
        if descriptor.nonblocking or flags & CONSTANTS["MSG_DONTWAIT"]:
            return failed("EAGAIN")
        raise WouldBlockError

    def _call_connect(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        freebsd = self.settings.platform == "freebsd"
        if descriptor.listener is not None:
            return failed("EOPNOTSUPP" if freebsd else "EISCONN")
        if descriptor.socket is None:
            remote = self._address(call.arguments[1], self.settings.remote_address, self.settings.connect_port)
            self.watch(self._connection(Phase.CONNECTING, descriptor.local.port if descriptor.local else None, remote))
            descriptor.socket = self.connect_with_options(descriptor, remote, now_us)
            descriptor.connecting = progress.started = True
        elif not progress.started:
            if freebsd and descriptor.gone:
                descriptor.socket.error = None
                return failed("EADDRINUSE" if descriptor.state == "TIME_WAIT" else "ECONNREFUSED")
            if not descriptor.connecting:
                return failed("EISCONN")
            if descriptor.state in CONNECTING_STATES:
                return failed("EALREADY")
            if freebsd:
                return failed("EISCONN")  # Linux says once that it is connected now
            progress.started = True
        elif descriptor.nonblocking:
            return failed("EINPROGRESS")
        return self._connected(descriptor)

    def _connected(self, descriptor: Descriptor) -> Returned:
        socket = descriptor.socket
        if socket.error is not None:
            descriptor.connecting = False
            error = self.take_error(descriptor)
            if self.settings.platform == "linux":
                descriptor.socket = None  # it may try again
            return failed(errno_of(error))
        if descriptor.state in CONNECTING_STATES:
            if descriptor.nonblocking:
                return failed("EINPROGRESS")
            raise WouldBlockError
        descriptor.connecting = False
        return Returned(0)

    def _call_shutdown(self, call: SystemCall, _: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        how = evaluate(call.arguments[1])
        if how not in (CONSTANTS["SHUT_RD"], CONSTANTS["SHUT_WR"], CONSTANTS["SHUT_RDWR"]):
            return failed("EINVAL")
        reads, writes = how != CONSTANTS["SHUT_WR"], how != CONSTANTS["SHUT_RD"]
        if descriptor.listener is not None and self.settings.platform == "linux":
            if reads:
                descriptor.listener.close(now_us)
                descriptor.listener = None
            return Returned(0)
        if descriptor.socket is None or descriptor.gone:
            return failed("ENOTCONN")
        descriptor.read_shut = descriptor.read_shut or reads
        if reads and self.settings.platform == "freebsd":
            descriptor.socket.receive(descriptor.socket.unread_bytes, now_us)
        if writes:
            descriptor.write_shut = True
            descriptor.socket.shutdown(now_us)
        return Returned(0)

    def _call_close(self, call: SystemCall, progress: Progress, now_us: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        if progress.started:
            return self._lingered(descriptor, progress, now_us)
        progress.started = True
        if descriptor.listener is not None:
            descriptor.listener.close(now_us)
        if descriptor.socket is not None:
            descriptor.socket.close(now_us)
            linger_s = int(descriptor.options.get("SO_LINGER", -1))
            if linger_s > 0 and not descriptor.nonblocking:
                progress.deadline_us = now_us + linger_s * 1_000_000
        return self._lingered(descriptor, progress, now_us)

    def _lingered(self, descriptor: Descriptor, progress: Progress, now_us: int) -> Returned:
        """Wait for the acknowledgment of the FIN, as long as the application wants to linger."""
        waits = descriptor.socket is not None and descriptor.state in ("FIN_WAIT_1", "CLOSING", "LAST_ACK")
        if waits and progress.deadline_us is not None and now_us < progress.deadline_us:
            raise WouldBlockError
        self.descriptors.pop(descriptor.number, None)
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
                named, numbers = names_and_numbers(call.arguments[2])
                descriptor.nonblocking = "O_NONBLOCK" in named or any(number & nonblock for number in numbers)
                return Returned(0)
            case 1 | 2:
                return Returned(0)
        raise UnsupportedError(f"fcntl with {call.arguments[1]}")

    def _call_open(self, call: SystemCall, _: Progress, __: int) -> Returned:
        number = self._script_number(call)
        self.descriptors[number] = Descriptor(number, kind="file")
        return Returned(number)

    def _call_getsockname(self, call: SystemCall, _: Progress, __: int) -> Returned:
        return failed("EBADF") if self._descriptor(call) is None else Returned(0)

    def _call_getpeername(self, call: SystemCall, _: Progress, __: int) -> Returned:
        descriptor = self._descriptor(call)
        if descriptor is None:
            return failed("EBADF")
        return failed("ENOTCONN") if descriptor.socket is None else Returned(0)
