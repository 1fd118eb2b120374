"""The calls on socket options: setsockopt, getsockopt and ioctl, by the table of `descriptors`. Knows no other call."""

import errno
from collections.abc import Callable
from typing import Any

from netstack.script.commands import CONGESTION_CONTROLS
from netstack.script.constants import CONSTANTS, evaluate
from netstack.script.descriptors import REMEMBERED, SOCKET_OPTIONS, Descriptor, OptionSpec
from netstack.script.host import OFFERED_OPTIONS, state_name
from netstack.script.results import Returned, errno_of, failed
from netstack.script.settings import Settings, UnsupportedError
from netstack.script.syntax import Anything, Array, Expression, Number, Struct, SystemCall, Text, Word

BUFFERS = ("SO_RCVBUF", "SO_SNDBUF")


class OptionCalls:
    """The part of the calls that is about options."""

    settings: Settings
    endpoint: Callable[[], Any]
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
        spec = SOCKET_OPTIONS.get(name, OptionSpec(None))
        if spec.target is None or (spec.target != REMEMBERED and spec.target not in OFFERED_OPTIONS):
            raise UnsupportedError(f"socket option {name}")
        number = _option_value(name, value)
        if name == "TCP_CONGESTION":
            number = CONGESTION_CONTROLS.get(str(number), number)
        if name in BUFFERS and self.settings.platform == "linux" and isinstance(number, int):
            number *= 2  # for its own records, socket(7)
        descriptor.options[name] = number
        target = descriptor.socket or descriptor.listener
        if target is not None:
            self._apply(target, name, number, now_us)
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
        wanted = call.arguments[3]
        if isinstance(wanted, Anything):
            return Returned(0)
        if name == "SO_ERROR":
            socket = descriptor.socket
            found: int | str = 0
            if socket is not None and socket.error is not None:
                found = errno_of(self.take_error(descriptor))
            return Returned(0, differences=_error_difference(wanted, found))
        value = self._value(descriptor, name)
        expected_value = _option_value(name, wanted)
        same = value == expected_value
        return Returned(0, differences=() if same else (f"{name} is {value}, expected {expected_value}",))

    def _value(self, descriptor: Descriptor, name: str) -> int | str:
        fixed = {
            "SO_TYPE": CONSTANTS["SOCK_STREAM"],
            "SO_PROTOCOL": CONSTANTS["IPPROTO_TCP"],
            "SO_ACCEPTCONN": int(bool(descriptor.listener)),
        }
        if name in fixed:
            return fixed[name]
        spec = SOCKET_OPTIONS.get(name, OptionSpec(None))
        target = descriptor.socket or descriptor.listener
        if name == "SO_RCVBUF" and self._rounds_later(descriptor):
            target = None
        if spec.target in OFFERED_OPTIONS and target is not None:
            value = target.get_option(spec.target)
            return value // spec.unit_us if spec.unit_us else value
        if name in descriptor.options:
            return descriptor.options[name]
        inherited = {
            "SO_RCVBUF": self.settings.stack.receive_buffer_bytes,
            "SO_SNDBUF": self.settings.stack.send_buffer_bytes,
        }.get(name)
        if inherited is not None:
            return inherited
        if spec.default is None:
            raise UnsupportedError(f"socket option {name}")
        return spec.default

    def _rounds_later(self, descriptor: Descriptor) -> bool:
        """Whether a receive buffer has the size that was asked for, and is one of whole segments only once established."""
        opening = descriptor.socket is None or state_name(descriptor.socket) in ("SYN_SENT", "SYN_RECEIVED")
        return self.settings.platform == "freebsd" and opening

    def _call_ioctl(self, call: SystemCall, _: object, __: int) -> Returned:
        descriptor, request = self.descriptors.get(evaluate(call.arguments[0])), call.arguments[1]
        if descriptor is None:
            return failed("EBADF")
        name = request.name if isinstance(request, Word) else ""
        if name == "FIONBIO":
            descriptor.nonblocking = evaluate(call.arguments[2]) != 0
            return Returned(0)
        attribute = {"FIONREAD": "unread_bytes", "SIOCINQ": "unread_bytes", "SIOCOUTQ": "unacknowledged_bytes"}.get(name)
        found = getattr(descriptor.socket, attribute, None) if attribute else None
        if found is None:
            raise UnsupportedError(f"ioctl {name or request}")
        expected = evaluate(call.arguments[2])
        return Returned(0, differences=() if found == expected else (f"{name} is {found}, expected {expected}",))


def _offered(name: str, value: int | str) -> dict[str, int | str]:
    """An option as the endpoint calls it; empty for one that is only remembered."""
    spec = SOCKET_OPTIONS[name]
    if spec.target is None or spec.target == REMEMBERED:
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
