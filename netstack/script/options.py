"""The calls on socket options: setsockopt, getsockopt and ioctl, by the table of `descriptors`. Knows no other call."""

import errno
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netstack.script.commands import CONGESTION_CONTROLS
from netstack.script.constants import CONSTANTS, evaluate
from netstack.script.descriptors import Descriptor
from netstack.script.host import OFFERED_OPTIONS, state_name, tcp_info
from netstack.script.messages import Ancillary
from netstack.script.results import Returned, errno_of, failed
from netstack.script.settings import Settings, StackSettings, UnsupportedError
from netstack.script.socket_options import REMEMBERED, SCRIPT_OPTIONS, SOCKET_OPTIONS, OptionSpec
from netstack.script.syntax import Anything, Array, Expression, Number, Struct, SystemCall, Text, Word

BUFFERS = ("SO_RCVBUF", "SO_SNDBUF", "SO_RCVBUFFORCE", "SO_SNDBUFFORCE")
_INT_BYTES = 4
_COUNTS = {
    "FIONREAD": "unread_bytes",
    "SIOCINQ": "unread_bytes",
    "TIOCINQ": "unread_bytes",
    "SIOCOUTQ": "outgoing_bytes",
    "TIOCOUTQ": "outgoing_bytes",
    "FIONWRITE": "unacknowledged_bytes",
    "SIOCOUTQNSD": "unsent_bytes",
    "FIONSPACE": "send_room_bytes",
}
"""What requests of ioctl ask for, as sockets of the endpoint call it."""


class OptionCalls:
    """The part of the calls that is about options."""

    settings: Settings
    endpoint: Callable[[], Any]
    change: Callable[[StackSettings], None]
    ancillary: Ancillary
    descriptors: dict[int, Descriptor]

    def _option(self, call: SystemCall) -> tuple[Descriptor | None, str]:
        name = call.arguments[2]
        if not isinstance(name, Word):
            raise UnsupportedError(f"{call.name} of an option that has no name")
        return self.descriptors.get(evaluate(call.arguments[0])), name.name

    def _call_setsockopt(self, call: SystemCall, _: object, now_us: int) -> Returned:
        descriptor, name = self._option(call)
        if descriptor is None:
            return failed("EBADF")
        value = call.arguments[3]
        refused = self._refused(descriptor, name, call)
        if refused is not None:
            return failed(refused)
        if name == "TCP_FUNCTION_BLK":
            return self._choose_functions(descriptor, value)
        spec = SOCKET_OPTIONS.get(name, OptionSpec(None))
        if not _is_offered(spec):
            raise UnsupportedError(f"socket option {name}")
        number = _option_value(name, value)
        if name == "TCP_CONGESTION":
            number = CONGESTION_CONTROLS.get(str(number), number)
        if isinstance(number, int):
            if self.settings.platform == "linux" and not _takes(spec, number, name):
                return failed("EINVAL")
            number = self._as_kept(name, spec, number)
        descriptor.options[name] = number
        if name == "SO_TIMESTAMPING":
            self.ancillary.begin_keys(descriptor)
        target = descriptor.socket or descriptor.listener
        if target is not None:
            self._apply(target, name, number, now_us)
        return Returned(0)

    def _refused(self, descriptor: Descriptor, name: str, call: SystemCall) -> str | None:
        """The error of a call that is wrong whatever the value is: a connection that FreeBSD has dropped, or too few bytes."""
        dropped = self.settings.platform == "freebsd" and descriptor.state == "CLOSED"
        if dropped and name.startswith(("TCP_", "IP_", "IPV6_")):
            return "ECONNRESET"
        length = call.arguments[4] if len(call.arguments) > 4 else None
        short = isinstance(length, Number) and length.value < _INT_BYTES and name not in ("TCP_CONGESTION", "TCP_LOGID")
        return "EINVAL" if short else None

    def _as_kept(self, name: str, spec: OptionSpec, number: int) -> int:
        if name in BUFFERS and self.settings.platform == "linux":
            return number * 2  # for its own records, socket(7)
        return int(number != 0) if spec.boolean else number

    def _choose_functions(self, descriptor: Descriptor, value: Expression) -> Returned:
        """Choose FreeBSD's own stack, or its other one, which is that of RFC 8985 (tcp(4), tcp_rack(4))."""
        item = value.items[0] if isinstance(value, Array) and value.items else value
        name = item.get("function_set_name") if isinstance(item, Struct) else item
        if not isinstance(name, Text) or name.value not in (b"freebsd", b"default", b"rack"):
            raise UnsupportedError(f"TCP_FUNCTION_BLK {name.value.decode() if isinstance(name, Text) else name}")
        rack = name.value == b"rack"
        self.change(replace(self.settings.stack, rack=rack, loss_probes="tail" if rack else "never"))
        descriptor.options["TCP_FUNCTION_BLK"] = "rack" if rack else "freebsd"
        return Returned(0)

    def _apply(self, target: Any, name: str, value: int | str, now_us: int) -> None:
        offered = _offered(name, value)
        try:
            for option, scaled in offered.items():
                target.set_option(option, scaled, now_us)
        except ValueError as error:
            raise UnsupportedError(f"socket option {name}: {error}") from None

    def apply_options(self, descriptor: Descriptor, target: Any, now_us: int) -> None:
        """Give a listener the options that its descriptor has had before it."""
        for name, value in descriptor.options.items():
            self._apply(target, name, value, now_us)

    def connect_with_options(self, descriptor: Descriptor, remote: Any, now_us: int) -> Any:
        """Open a connection that has the options of its descriptor."""
        options: dict[str, int | str] = {}
        for name, value in descriptor.options.items():
            options |= _offered(name, value)
        try:
            return self.endpoint().connect(remote, now_us, local=descriptor.local, options=options)
        except ValueError as error:
            raise UnsupportedError(f"socket option {error}") from None

    def take_error(self, descriptor: Descriptor) -> OSError:
        """Return the pending error of a socket, which is then no more."""
        error = descriptor.socket.error or OSError(errno.EIO, "no error")
        descriptor.socket.error = None
        return error

    def _call_getsockopt(self, call: SystemCall, _: object, now_us: int) -> Returned:
        descriptor, name = self._option(call)
        if descriptor is None:
            return failed("EBADF")
        if self.settings.platform == "freebsd" and descriptor.state == "CLOSED" and name.startswith(("TCP_", "IP_", "IPV6_")):
            return failed("ECONNRESET")
        wanted = call.arguments[3]
        if isinstance(wanted, Anything):
            return Returned(0)
        if name == "SO_ERROR":
            socket = descriptor.socket
            found: int | str = 0
            if socket is not None and socket.error is not None:
                found = errno_of(self.take_error(descriptor))
            return Returned(0, differences=_error_difference(wanted, found))
        if name in ("TCP_INFO", "TCP_FUNCTION_BLK"):
            return Returned(0, differences=self._structure_differences(descriptor, name, wanted))
        value = self._value(descriptor, name)
        expected_value = _option_value(name, wanted)
        if name == "TCP_CONGESTION":
            expected_value = CONGESTION_CONTROLS.get(str(expected_value), expected_value)
        same = value == expected_value
        return Returned(0, differences=() if same else (f"{name} is {value}, expected {expected_value}",))

    def _structure_differences(self, descriptor: Descriptor, name: str, wanted: Expression) -> tuple[str, ...]:
        """Compare the members of a structure that the script names."""
        item = wanted.items[0] if isinstance(wanted, Array) and wanted.items else wanted
        if not isinstance(item, Struct):
            raise UnsupportedError(f"getsockopt of {name} without its members")
        found: dict[str, object] = {"function_set_name": descriptor.options.get("TCP_FUNCTION_BLK", "freebsd")}
        if name == "TCP_INFO":
            found = tcp_info(descriptor.socket or descriptor.listener, self.settings.platform)
        problems = []
        for member in item.fields:
            if member.name is None or isinstance(member.value, Anything) or member.name == "pcbcnt":
                continue
            if member.name not in found:
                raise UnsupportedError(f"{name} with {member.name}")
            expected = member.value.value.decode() if isinstance(member.value, Text) else evaluate(member.value)
            if found[member.name] != expected:
                problems.append(f"{member.name} is {found[member.name]}, expected {expected}")
        return tuple(problems)

    def _value(self, descriptor: Descriptor, name: str) -> int | str:
        fixed = {
            "SO_TYPE": CONSTANTS["SOCK_STREAM"],
            "SO_PROTOCOL": CONSTANTS["IPPROTO_TCP"],
            "SO_DOMAIN": CONSTANTS["AF_INET6" if self.settings.ip_version == 6 else "AF_INET"],
            "SO_ACCEPTCONN": int(bool(descriptor.listener)),
        }
        if name in fixed:
            return fixed[name]
        spec = SOCKET_OPTIONS.get(name, OptionSpec(None))
        target = descriptor.socket or descriptor.listener
        if name == "SO_RCVBUF" and self._rounds_later(descriptor):
            target = None
        if spec.target in OFFERED_OPTIONS and descriptor.socket is not None and target is not None:
            value = target.get_option(spec.target)
            return value // spec.unit_us if spec.unit_us else value
        if name in descriptor.options:
            return descriptor.options[name]
        stack = self.settings.stack
        inherited = {
            "SO_RCVBUF": stack.receive_buffer_bytes,
            "SO_SNDBUF": stack.send_buffer_bytes,
            "TCP_CONGESTION": stack.congestion_control,
            "TCP_KEEPCNT": stack.keepalive_probes,
            "TCP_SYNCNT": stack.syn_retries,
            "TCP_MAXSEG": 536 if self.settings.platform != "any" else None,
        }.get(name)
        if inherited is not None:
            return inherited
        if spec.default is None or not _is_offered(spec):
            raise UnsupportedError(f"socket option {name}")
        return spec.default

    def _rounds_later(self, descriptor: Descriptor) -> bool:
        """Whether a receive buffer has the size that was asked for, and is one of whole segments only once established."""
        opening = descriptor.socket is None or state_name(descriptor.socket) == "SYN_SENT"
        return self.settings.platform == "freebsd" and opening

    def _call_ioctl(self, call: SystemCall, _: object, __: int) -> Returned:
        descriptor, request = self.descriptors.get(evaluate(call.arguments[0])), call.arguments[1]
        if descriptor is None:
            return failed("EBADF")
        name = request.name if isinstance(request, Word) else ""
        if name == "FIONBIO":
            descriptor.nonblocking = evaluate(call.arguments[2]) != 0
            return Returned(0)
        attribute = _COUNTS.get(name)
        if attribute is None:
            raise UnsupportedError(f"ioctl {name or request}")
        if descriptor.listener is not None and self.settings.platform == "linux":
            return failed("EINVAL")
        found = getattr(descriptor.socket, attribute) if descriptor.socket is not None else 0
        expected = evaluate(call.arguments[2])
        return Returned(0, differences=() if found == expected else (f"{name} is {found}, expected {expected}",))


def _is_offered(spec: OptionSpec) -> bool:
    return spec.target == REMEMBERED or spec.target in OFFERED_OPTIONS or spec.target in SCRIPT_OPTIONS


def _takes(spec: OptionSpec, number: int, name: str) -> bool:
    """Whether Linux takes a value. A maximum segment size of 0 gives it back to the stack."""
    if spec.linux_values is None or (name == "TCP_MAXSEG" and number == 0):
        return True
    return spec.linux_values[0] <= number <= spec.linux_values[1]


def _offered(name: str, value: int | str) -> dict[str, int | str]:
    """An option as the endpoint calls it; empty for one that is only remembered."""
    spec = SOCKET_OPTIONS.get(name, OptionSpec(None))
    if spec.target is None or spec.target not in OFFERED_OPTIONS:
        return {}
    return {spec.target: value * spec.unit_us if spec.unit_us and isinstance(value, int) else value}


def _linger_s(value: Expression) -> int:
    """Return for how long to linger; -1 for not lingering."""
    if not isinstance(value, Struct):
        raise UnsupportedError("SO_LINGER without a structure")
    values = [value.get("onoff"), value.get("linger")]
    if None in values:
        values = [field.value for field in value.fields[:2]]
    on, seconds = (evaluate(item or Number(0, "0")) for item in values)
    return seconds if on else -1


def _option_value(name: str, value: Expression) -> int | str:
    if name == "SO_LINGER":
        return _linger_s(value)
    if isinstance(value, Array) and len(value.items) == 1:
        value = value.items[0]
    return value.value.decode() if isinstance(value, Text) else evaluate(value)


def _error_difference(wanted: Expression, found: int | str) -> tuple[str, ...]:
    item = wanted.items[0] if isinstance(wanted, Array) and len(wanted.items) == 1 else wanted
    expected: int | str
    if isinstance(item, Word) and item.name.startswith("E"):
        expected = item.name
    else:
        number = evaluate(item)
        expected = errno.errorcode.get(number, number) if number else 0
    return () if expected == found else (f"SO_ERROR is {found}, expected {expected}",)
