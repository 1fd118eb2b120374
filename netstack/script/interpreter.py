"""Runs a script: its events in order, in virtual time, against an endpoint, and says where the two differ.

Time stands still between the deadlines of the endpoint and the events of the script. Knows no clock.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from netstack.script.calls import Calls
from netstack.script.chronographs import Chronographs
from netstack.script.code import AssertionFailedError, run_code
from netstack.script.commands import interpret
from netstack.script.connection import Connection, Phase
from netstack.script.constants import evaluate
from netstack.script.echo import echo_to_wire, icmp_differences, icmp_of_wire, is_echo
from netstack.script.host import Backend, configure, tcp_info
from netstack.script.messages import Ancillary
from netstack.script.notation import differences, event_text, packet_text
from netstack.script.packets import IcmpMessage, PacketError, Segment, build_icmp, build_segment, read_packet
from netstack.script.questions import answer, socket_lines
from netstack.script.results import SAME_ERRORS, Outcome, Progress, Returned, Verdict, WouldBlockError
from netstack.script.settings import Settings, StackSettings, UnsupportedError, settings_of
from netstack.script.syntax import (
    Anything,
    Code,
    Command,
    Event,
    IcmpPacket,
    Script,
    Sequence,
    SystemCall,
    TcpPacket,
    TimeKind,
    Unsupported,
)

Trace = Callable[[str], None]
PATIENCE_US = 3_600_000_000
"""How long a packet at any time (``*``) is waited for."""
FIRST_REMOTE_PORT = 49152  # the first of the dynamic ports, RFC 6335
_TIMER_RUNS_AT_ONCE = 1000


class FailedError(Exception):
    """The stack did something else than the script says; the message may have several lines.

    `line` is that of the event, if it is another than the one that runs.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class _Pending:
    """A blocking call that has not returned."""

    event: Event
    call: SystemCall
    progress: Progress
    end_us: int
    tolerance_us: int


def run_script(
    script: Script,
    backend: Backend,
    ip_version: str | None = None,
    strict: bool = False,
    trace: Trace | None = None,
    platform: str | None = None,
) -> Outcome:
    """Run a script and return what came of it.

    Args:
        script: The script.
        backend: Makes the endpoint.
        ip_version: ipv4, ipv6 or ipv4-mapped-ipv6 for a script that names none.
        strict: Compare order and padding of TCP options and echoed timestamps.
        trace: Gets every event, in lines.
        platform: linux or freebsd, whose defaults and calls hold; otherwise the script's commands tell.

    Raises:
        ScriptError: An option of the script has a value that it cannot have.
    """
    try:
        settings = settings_of(script, ip_version, platform)
    except UnsupportedError as error:
        line = script.options[0].line if script.options else 0
        return Outcome(script.path, Verdict.UNSUPPORTED, line, str(error), case=script.case)
    return Interpreter(script, settings, backend, strict, trace).run()


class Interpreter:
    """One run of one script. `now_us` is the virtual time since the script's start."""

    def __init__(
        self,
        script: Script,
        settings: Settings,
        backend: Backend,
        strict: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self.script = script
        self.settings = settings
        self.now_us = 0
        self.notes: list[str] = []
        self._backend = backend
        self._strict = strict
        self._trace = trace or (lambda _: None)
        self._endpoint: Any = None
        self._connection: Connection | None = None
        self._sent: deque[tuple[int, Segment | IcmpMessage]] = deque()
        self._pending: _Pending | None = None
        self._calls = Calls(settings, backend, self._make_endpoint, self._watch, self._change, Ancillary(settings))
        self._chronographs = Chronographs()
        self._next_remote_port = FIRST_REMOTE_PORT
        self._last_event_us = 0
        self._variables: dict[str, object] = {}

    def run(self) -> Outcome:
        """Run all events and return what came of them."""
        line = done = 0
        try:
            for event in self.script.events:
                line = event.line
                self._run_event(event)
                done += 1
            self._finish()
        except FailedError as error:
            return self._outcome(Verdict.FAIL, error.line or line, str(error), done)
        except UnsupportedError as error:
            return self._outcome(Verdict.UNSUPPORTED, line, str(error), done)
        return self._outcome(Verdict.PASS, 0, "", done)

    def _outcome(self, verdict: Verdict, line: int, message: str, done: int) -> Outcome:
        return Outcome(self.script.path, verdict, line, message, done, self.notes, self.script.case)

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self._trace(f"  note: {text}")

    def _make_endpoint(self) -> Any:
        if self._endpoint is None:
            self._endpoint = self._backend.make(self.settings)
        return self._endpoint

    def _watch(self, connection: Connection) -> None:
        self._connection = connection
        if connection.phase is Phase.LISTENING:
            connection.remote_port = self._next_remote_port

    # --- time -------------------------------------------------------------------------------------------------------------

    def _start_of(self, event: Event) -> tuple[int, int]:
        """When an event is due, and how much earlier or later it may be."""
        time = event.time
        due_us = time.start_us + (self.now_us if time.kind is TimeKind.RELATIVE else 0)
        if time.kind is TimeKind.ANY:
            due_us = self.now_us
        dynamic_us = int((due_us - self._last_event_us) * self.settings.tolerance_percent / 100)
        return due_us, max(self.settings.tolerance_us, dynamic_us)

    def _advance(self, until_us: int, for_packet: bool = False) -> None:
        """Let time pass to `until_us`, or only until there is a packet."""
        runs = 0
        while not (for_packet and self._sent):
            deadline_us = self._endpoint.next_deadline_us() if self._endpoint is not None else None
            give_up_us = self._pending.progress.deadline_us if self._pending is not None else None
            due = [
                max(time_us, self.now_us) for time_us in (deadline_us, give_up_us) if time_us is not None and time_us <= until_us
            ]
            if not due:
                self._elapse(max(self.now_us, until_us))
                return
            runs = runs + 1 if min(due) == self.now_us else 0
            if runs > _TIMER_RUNS_AT_ONCE:
                raise FailedError(f"the endpoint's timers do not come to an end at {self.now_us / 1e6:.6f}")
            self._elapse(min(due))
            if self._endpoint is not None:
                self._endpoint.run_timers(self.now_us)
            self._collect()

    def _elapse(self, until_us: int) -> None:
        self._chronographs.elapse(self._calls.descriptors.values(), until_us - self.now_us)
        self.now_us = until_us

    def _collect(self) -> None:
        """Take what the stack sends now, and see whether a blocking call can return."""
        self._calls.ancillary.observe(self.now_us)
        if self._endpoint is not None:
            for packet in self._endpoint.take_packets(self.now_us):
                self._keep(packet)
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._continue(pending)

    def _keep(self, packet: bytes) -> None:
        try:
            read = read_packet(packet)
        except PacketError as error:
            raise FailedError(f"the stack sent a packet that cannot be read: {error}\n  {packet.hex()}") from None
        of_connection = isinstance(read, Segment) and self._connection is not None and self._connection.is_sender_of(read)
        if of_connection or isinstance(read, IcmpMessage):
            self._sent.append((self.now_us, read))
        else:
            self._trace(f"  {self.now_us / 1e6:.6f} (a packet of another connection)")

    def _wait_until(self, event: Event) -> None:
        due_us, tolerance_us = self._start_of(event)
        if self.now_us > due_us + tolerance_us:
            raise FailedError(f"it is due at {due_us / 1e6:.6f} and the event before it happened at {self.now_us / 1e6:.6f}")
        self._advance(due_us)

    # --- events -----------------------------------------------------------------------------------------------------------

    def _run_event(self, event: Event) -> None:
        action = event.action
        if isinstance(action, Unsupported):
            raise UnsupportedError(f"{action.construct}: {' '.join(action.text.split())[:80]}")
        if isinstance(action, TcpPacket | IcmpPacket) and not action.inbound:
            self._expect_packet(event, action)
        else:
            self._wait_until(event)
            match action:
                case TcpPacket():
                    self._inject(action)
                case IcmpPacket():
                    self._inject_icmp(action)
                case SystemCall():
                    self._call(event, action)
                case Command():
                    self._command(action)
                case Code():
                    self._code(action)
        self._last_event_us = self.now_us

    def _inject(self, packet: TcpPacket) -> None:
        connection = self._connection
        if connection is None or connection.phase is Phase.LISTENING:
            connection = self._connection = self._new_connection(packet)
        try:
            wire = build_segment(connection.to_wire(packet, self.settings.echo_scaled))
        except PacketError as error:
            raise UnsupportedError(str(error)) from None
        self._trace(event_text(self.now_us, packet))
        self._make_endpoint().receive(wire, self.now_us)
        self._collect()

    def _new_connection(self, packet: TcpPacket) -> Connection:
        """The connection of a first packet to a listening socket, or to none."""
        settings = self.settings
        remote_port, local_port = packet.ports or (self._next_remote_port, settings.bind_port)
        if self._connection is not None and self._connection.local_port is not None and packet.ports is None:
            local_port = self._connection.local_port
        self._next_remote_port += 1
        connection = Connection(Phase.PACKET_RECEIVED, settings.local_address, settings.remote_address, local_port, remote_port)
        connection.begin_with(packet)
        return connection

    def _inject_icmp(self, packet: IcmpPacket) -> None:
        if self._connection is None and not is_echo(packet):
            raise FailedError("the ICMP message is about no connection: there is none yet")
        try:
            if is_echo(packet) or self._connection is None:
                message = echo_to_wire(packet, self.settings.remote_address, self.settings.local_address)
            else:
                message = self._connection.icmp_to_wire(packet)
            wire = build_icmp(message)
        except PacketError as error:
            raise UnsupportedError(str(error)) from None
        self._trace(event_text(self.now_us, packet))
        self._make_endpoint().receive(wire, self.now_us)
        self._collect()

    def _expect_packet(self, event: Event, expected: TcpPacket | IcmpPacket) -> None:
        due_us, tolerance_us = self._start_of(event)
        end_us = due_us if event.time.end_us is None else due_us + event.time.end_us - event.time.start_us
        limit_us = self.now_us + PATIENCE_US if event.time.kind is TimeKind.ANY else end_us + tolerance_us
        if isinstance(expected, IcmpPacket):
            sent_us, actual = self._next_icmp(expected, due_us, limit_us)
            problems = icmp_differences(expected, actual)
        else:
            sent_us, actual = self._next_packet(expected, due_us, limit_us)
            problems = self._segment_differences(expected, actual)
        early_or_late = event.time.kind is not TimeKind.ANY and not due_us - tolerance_us <= sent_us <= end_us + tolerance_us
        if early_or_late:
            when = f"{due_us / 1e6:.6f}" if end_us == due_us else f"{due_us / 1e6:.6f} to {end_us / 1e6:.6f}"
            problems.append(f"time is {sent_us / 1e6:.6f}, expected {when} with a tolerance of {tolerance_us / 1e6:.6f}")
        self._trace(event_text(sent_us, actual))
        if problems:
            shown_us = due_us if event.time.kind is not TimeKind.ANY else sent_us
            lines = [
                "sent packet differs",
                f"  script: {event_text(shown_us, expected)}",
                f"  actual: {event_text(sent_us, actual)}",
            ]
            self._packet_problem("\n".join([*lines, *(f"  {problem}" for problem in problems)]))

    def _segment_differences(self, expected: TcpPacket, actual: TcpPacket) -> list[str]:
        if self.settings.platform == "linux" and not self._strict and "P" in expected.flags and actual.sequence.length > 0:
            # Linux pushes each burst, where the RFC asks for the last segment of the data only (RFC 9293, section 3.9.1.2)
            actual = replace(actual, flags="P" + actual.flags.replace("P", ""))
        return differences(expected, actual, self._strict, self.settings.timestamp_tick_us, self.settings.tolerance_us)

    def _next_icmp(self, expected: IcmpPacket, due_us: int, limit_us: int) -> tuple[int, IcmpPacket]:
        """The next ICMP message that the stack sent or sends, before any segment."""
        self._advance(limit_us, for_packet=True)
        if not self._sent:
            self._nothing_sent(expected, due_us)
        sent_us, message = self._sent.popleft()
        if not isinstance(message, IcmpMessage):
            raise FailedError(f"the stack sent a segment\n  script: {event_text(due_us, expected)}")
        return sent_us, icmp_of_wire(message)

    def _packet_problem(self, message: str) -> None:
        if "packet" not in self.settings.non_fatal:
            raise FailedError(message)
        self._note(message)

    def _next_packet(self, expected: TcpPacket, due_us: int, limit_us: int) -> tuple[int, TcpPacket]:
        """The next segment that the stack sent or sends, as a packet of the script.

        One that is shorter than expected goes on in the next ones, unless segments are strict: a stack that leaves segmentation
        to the device would have sent them as one.
        """
        whole: TcpPacket | None = None
        first_us = 0
        while whole is None or (whole.sequence.length < expected.sequence.length and not self.settings.strict_segments):
            self._advance(limit_us, for_packet=True)
            if not self._sent:
                if whole is not None:
                    break
                self._nothing_sent(expected, due_us)
            if whole is not None and not isinstance(self._sent[0][1], Segment):
                break
            sent_us, segment = self._sent[0]
            if not isinstance(segment, Segment):
                raise FailedError(
                    f"the stack sent ICMP type {segment.type} code {segment.code}\n  script: {event_text(due_us, expected)}"
                )
            if self._connection is None:
                raise FailedError("the packet belongs to no connection: there is none yet")
            piece = self._connection.to_script(segment, expected)
            if whole is None:
                whole, first_us = piece, sent_us
            elif not _continues(whole, piece) or whole.sequence.length + piece.sequence.length > expected.sequence.length:
                break
            else:
                whole = _joined(whole, piece)
            self._sent.popleft()
            if piece.sequence.length == 0:
                break
        return first_us, whole

    def _nothing_sent(self, expected: TcpPacket | IcmpPacket, due_us: int) -> NoReturn:
        raise FailedError(f"no packet was sent until {self.now_us / 1e6:.6f}\n  script: {event_text(due_us, expected)}")

    # --- calls, commands, code --------------------------------------------------------------------------------------------

    def _call(self, event: Event, call: SystemCall) -> None:
        if self._pending is not None:
            self._advance(self._pending.end_us + self._pending.tolerance_us)
            self._must_have_returned()
        self._trace(f"{self.now_us / 1e6:.6f} {call.name}(...)")
        end_us, tolerance_us = self.now_us, self.settings.tolerance_us
        if call.end_us is not None:
            base_us = self._last_event_us if event.time.kind is TimeKind.RELATIVE else 0
            end_us = base_us + call.end_us
            tolerance_us = max(tolerance_us, int((end_us - self.now_us) * self.settings.tolerance_percent / 100))
        self._continue(_Pending(event, call, Progress(self.now_us), end_us, tolerance_us))
        if self._pending is not None and call.end_us is None:
            raise FailedError(f"call {call.name} blocks, and must return at once")
        self._collect()

    def _continue(self, pending: _Pending) -> None:
        """Make or go on with a call; it stays pending if it blocks."""
        try:
            returned = self._calls.run(pending.call, pending.progress, self.now_us)
        except WouldBlockError:
            self._pending = pending
            if self.now_us > pending.end_us + pending.tolerance_us:
                self._must_have_returned()
            return
        self._check_result(pending, returned)

    def _must_have_returned(self) -> None:
        if self._pending is not None:
            name, end = self._pending.call.name, self._pending.end_us / 1e6
            message = f"call {name} has not returned at {self.now_us / 1e6:.6f}, expected at {end:.6f}"
            raise FailedError(message, self._pending.event.line)

    def _check_result(self, pending: _Pending, returned: Returned) -> None:
        call = pending.call
        problems = list(returned.differences)
        if not isinstance(call.result, Anything):
            expected = Returned(evaluate(call.result), SAME_ERRORS.get(call.errno or "", call.errno))
            unnamed = call.errno is None and expected.value == returned.value
            if (returned.value, returned.errno) != (expected.value, expected.errno) and not unnamed:
                problems.insert(0, f"it returned {returned}, expected {expected}")
        if call.end_us is not None and abs(self.now_us - pending.end_us) > pending.tolerance_us:
            problems.append(f"it returned at {self.now_us / 1e6:.6f}, expected at {pending.end_us / 1e6:.6f}")
        if problems:
            message = f"call {call.name}: {'; '.join(problems)}"
            if "syscall" not in self.settings.non_fatal:
                raise FailedError(message, pending.event.line)
            self._note(message)

    def _command(self, command: Command) -> None:
        effect = interpret(command.text, self.settings.stack)
        for skipped in effect.skipped:
            self._note(f"skipped: {skipped}")
        self._change(effect.stack)
        for question in effect.questions:
            if not answer(question, socket_lines(self._calls.descriptors.values(), self._endpoint)):
                raise FailedError(f"command {question.text} finds nothing")
        self._advance(self.now_us + effect.sleep_us)

    def _change(self, stack: StackSettings) -> None:
        """Give the stack new settings."""
        if stack == self.settings.stack:
            return
        self.settings = replace(self.settings, stack=stack)
        self._calls.settings = self.settings
        if self._endpoint is not None:
            configure(self._endpoint, self.settings)

    def _code(self, code: Code) -> None:
        sockets = [descriptor.socket for descriptor in self._calls.descriptors.values() if descriptor.socket is not None]
        names = tcp_info(sockets[-1], self.settings.platform, self.now_us) if sockets else {}
        if sockets and hasattr(sockets[-1], "pcb"):
            names |= {f"tcpi_{name}": value for name, value in self._chronographs.of(sockets[-1]).items()}
        try:
            for line in run_code(code.text, names, self._variables):
                self._trace(f"  {line}")
        except AssertionFailedError as error:
            raise FailedError(f"assertion: {error}") from None

    def _finish(self) -> None:
        """Wait for a call that still blocks, and see what is left.

        Packets that no event expects are left, as packetdrill leaves them; but a case ends with its last packet, so that
        it can say that nothing is sent.
        """
        if self._pending is not None:
            self._advance(self._pending.end_us + self._pending.tolerance_us)
            self._must_have_returned()
        for sent_us, segment in self._sent:
            if isinstance(segment, Segment) and self._connection is not None:
                left = self._connection.to_script(segment, _UNEXPECTED)
                if self.script.case:
                    raise FailedError(
                        f"a packet was sent that is not expected\n  actual: {sent_us / 1e6:.6f} {packet_text(left)}"
                    )
                self._note(f"not expected any more: {sent_us / 1e6:.6f} {packet_text(left)}")


def _continues(whole: TcpPacket, piece: TcpPacket) -> bool:
    next_start = (whole.sequence.start + whole.sequence.length) & 0xFFFFFFFF
    return (
        piece.sequence.start == next_start
        and piece.ack == whole.ack
        and set(piece.flags) - set("PFW") == set(whole.flags) - set("PFW")
    )


def _joined(whole: TcpPacket, piece: TcpPacket) -> TcpPacket:
    """Two segments as one: pushed and finished as the last, all else as the first."""
    flags = "".join(dict.fromkeys([*(letter for letter in "PF" if letter in piece.flags), *(set(whole.flags) - set("PF"))]))
    return replace(whole, flags=flags, sequence=replace(whole.sequence, length=whole.sequence.length + piece.sequence.length))


_UNEXPECTED = TcpPacket(inbound=False, flags=".", sequence=Sequence(0, 0), options=None)
