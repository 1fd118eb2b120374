"""What scripts may say, one construct a test, and where errors are."""

from pathlib import Path

import pytest

from netstack.script.parser import load, parse
from netstack.script.syntax import (
    Anything,
    Array,
    Binary,
    Call,
    Code,
    Command,
    EventTime,
    Field,
    IcmpPacket,
    IpInfo,
    Number,
    ScriptError,
    Sequence,
    Struct,
    SystemCall,
    TcpOption,
    TcpPacket,
    Text,
    TimeKind,
    Unsupported,
    Word,
)


def action_of(text: str) -> object:
    (event,) = parse(text).events
    return event.action


def packet_of(text: str) -> TcpPacket:
    packet = action_of(f"0 {text}")
    assert isinstance(packet, TcpPacket)
    return packet


def call_of(text: str) -> SystemCall:
    call = action_of(f"0 {text}")
    assert isinstance(call, SystemCall)
    return call


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("0", EventTime(TimeKind.ABSOLUTE, 0)),
        ("0.1", EventTime(TimeKind.ABSOLUTE, 100_000)),
        (".25", EventTime(TimeKind.ABSOLUTE, 250_000)),
        ("+.1", EventTime(TimeKind.RELATIVE, 100_000)),
        ("+1", EventTime(TimeKind.RELATIVE, 1_000_000)),
        ("0.1~0.2", EventTime(TimeKind.ABSOLUTE, 100_000, 200_000)),
        ("+.1~+.2", EventTime(TimeKind.RELATIVE, 100_000, 200_000)),
        ("*", EventTime(TimeKind.ANY)),
    ],
)
def test_times(text: str, time: EventTime) -> None:
    assert parse(f"{text} > . 1:1(0) ack 1").events[0].time == time


@pytest.mark.parametrize("time", ["*", "+.1~+.2"])
def test_only_sent_packets_may_come_when_they_like(time: str) -> None:
    with pytest.raises(ScriptError, match=r"<script>:1: .* only allowed for packets that the stack sends"):
        parse(f"{time} < . 1:1(0) ack 1 win 100")


@pytest.mark.parametrize(
    ("text", "flags", "ace"),
    [
        ("S", "S", None),
        ("S.", "S.", None),
        (".", ".", None),
        ("P.", "P.", None),
        ("FP.", "FP.", None),
        ("R", "R", None),
        ("SEW", "SEW", None),
        ("SEWA", "SEWA", None),
        ("SE.", "SE.", None),
        ("-", "", None),
        (".5", ".", 5),
        ("P5.", "P.", 5),
        ("5.", ".", 5),
        ("F2.", "F.", 2),
    ],
)
def test_flags(text: str, flags: str, ace: int | None) -> None:
    packet = packet_of(f"> {text} 1:1(0)")
    assert (packet.flags, packet.ace) == (flags, ace)


def test_a_whole_segment() -> None:
    assert packet_of("<[ect0] 1000 > 80 PU. 1:11(10) ack 5 win 257 urg 3 <nop,nop,sack 21:31 41:51>") == TcpPacket(
        inbound=True,
        flags="PU.",
        sequence=Sequence(1, 10),
        ack=5,
        window=257,
        urgent=3,
        options=(TcpOption("nop"), TcpOption("nop"), TcpOption("sack", (21, 31, 41, 51))),
        ip=IpInfo(ecn="ect0"),
        ports=(1000, 80),
    )


def test_options_of_a_syn() -> None:
    packet = packet_of("> S 0:0(0) win 65535 <mss 1460, sackOK,TS val 100 ecr 0,nop,wscale 7, eol, FO 0123abcd, FOEXP>")
    assert packet.options == (
        TcpOption("mss", (1460,)),
        TcpOption("sackOK"),
        TcpOption("TS", (100, 0)),
        TcpOption("nop"),
        TcpOption("wscale", (7,)),
        TcpOption("eol"),
        TcpOption("FO", blob=bytes.fromhex("0123abcd")),
        TcpOption("FOEXP"),
    )


def test_values_that_are_left_open() -> None:
    assert packet_of("> S. 0:0(0) ack 1 <...>").options is None
    assert packet_of("> S 0:0(0) <TS val ... ecr 0>").options == (TcpOption("TS", (None, 0)),)
    assert packet_of("> . 1:1(0)").window is None
    with pytest.raises(ScriptError, match=r"<\.\.\.> is only allowed for packets that the stack sends"):
        packet_of("< S 0:0(0) win 100 <...>")


def test_absolute_sequence_numbers() -> None:
    packet = packet_of("> R. 0:0(0)! ack 1! win 0")
    assert packet.sequence.absolute
    assert packet.ack_absolute


def test_a_digest() -> None:
    assert packet_of("> . 1:1(0) <md5 000102030405060708090a0b0c0d0e0f>").options == (TcpOption("md5", blob=bytes(range(16))),)


def test_an_option_that_cannot_be_built_is_kept_as_text() -> None:
    assert packet_of("> . 1:1(0) <nop,nop,md5 valid>").options == (
        TcpOption("nop"),
        TcpOption("nop"),
        TcpOption("md5", text="md5 valid"),
    )


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("[noecn]", IpInfo(ecn="noecn")),
        ("(ect01)", IpInfo(ecn="ect01")),
        ("[tos 0x12]", IpInfo(tos=0x12)),
        ("[ttl 64]", IpInfo(ttl=64)),
        ("[ce, flowlabel 0x1]", IpInfo(ecn="ce", flow_label=1)),
    ],
)
def test_the_ip_header(text: str, ip: IpInfo) -> None:
    assert packet_of(f"> {text} . 1:1(0)").ip == ip


def test_icmp() -> None:
    assert action_of("0 < icmp unreachable frag_needed mtu 1200 [1:1461(1460)]") == IcmpPacket(
        inbound=True, type="unreachable", code="frag_needed", mtu_bytes=1200, echoed=Sequence(1, 1460)
    )
    assert action_of("0 < [1:2(1)] icmp source_quench") == IcmpPacket(True, "source_quench", echoed=Sequence(1, 1))
    assert action_of("0 <icmp source_quench [0:0(0)]") == IcmpPacket(True, "source_quench", echoed=Sequence(0, 0))


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ("> udp (1000)", "protocol udp"),
        ("< mpls (label 0, tc 0, [S], ttl 0): . 1:1(0) ack 1", "tunnel mpls"),
        ("> ipv4 192.0.2.1 > 192.0.2.2: gre: S 0:0(0)", "tunnel ipv4"),
        ("> sctp: INIT[flgs=0, tag=1, a_rwnd=..., os=..., is=..., tsn=1, ...]", "protocol sctp"),
        ("< icmp unreachable port_unreachable [udp(100)]", "ICMP about udp"),
        ("< S 0:0(0) win 100 {mut tcp mss}", "mutation of a packet"),
    ],
)
def test_what_is_recognized_and_not_supported(text: str, construct: str) -> None:
    script = parse(f"0 {text}\n+0 close(3) = 0\n")
    assert isinstance(script.events[0].action, Unsupported)
    assert script.events[0].action.construct == construct
    assert isinstance(script.events[1].action, SystemCall)


def test_a_call() -> None:
    assert call_of("setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0") == SystemCall(
        "setsockopt",
        (Number(3, "3"), Word("SOL_SOCKET"), Word("SO_REUSEADDR"), Array((Number(1, "1"),)), Number(4, "4")),
        Number(0, "0"),
    )


def test_a_call_that_fails_and_one_with_a_note() -> None:
    call = call_of("connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)")
    assert (call.arguments[1:], call.result, call.errno) == ((Anything(), Anything()), Number(-1, "-1"), "EINPROGRESS")
    assert call_of("fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)").result == Number(2, "0x2")


def test_a_call_that_blocks() -> None:
    event = parse("+.1...0.3 read(3, ..., 10) = 10").events[0]
    assert isinstance(event.action, SystemCall)
    assert (event.time.start_us, event.action.end_us) == (100_000, 300_000)
    assert call_of("...2 read(3, ..., 10) = 10").end_us == 2_000_000


def test_arithmetic_of_flags() -> None:
    call = call_of("f(A|B & 0x10, 1 + 2 * 3) = -1")
    assert call.arguments == (
        Binary("|", Word("A"), Binary("&", Word("B"), Number(16, "0x10"))),
        Binary("+", Number(1, "1"), Binary("*", Number(2, "2"), Number(3, "3"))),
    )


def test_a_result_ends_where_the_next_time_begins() -> None:
    first, second, third = parse("0 close(3) = 0\n+0 close(4) = 0\n* > . 1:1(0)").events
    assert isinstance(first.action, SystemCall)
    assert first.action.result == Number(0, "0")
    assert (second.line, third.line) == (2, 3)


def test_structures() -> None:
    call = call_of("sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 1000}, {..., 4}], msg_flags=0}, MSG_DONTWAIT) = 1004")
    message = call.arguments[1]
    assert isinstance(message, Struct)
    assert message.fields[0] == Field("msg_name", Anything(), Anything())
    assert message.get("msg_iov") == Array(
        (
            Struct((Field(None, Anything()), Field(None, Number(1000, "1000")))),
            Struct((Field(None, Anything()), Field(None, Number(4, "4")))),
        )
    )
    address = call_of('bind(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}, 16) = 0').arguments[1]
    assert isinstance(address, Struct)
    assert address.get("sin_port") == Call("htons", (Number(80, "80"),))
    poll = call_of("poll([{fd=3, events=POLLIN, revents=POLLIN}], 1, 0) = 1").arguments[0]
    assert isinstance(poll, Array)


def test_strings() -> None:
    assert call_of(r'write(3, "a\n\x41" "b", 4) = 4').arguments[1] == Text(b"a\nAb")
    assert call_of('read(3, "GET"..., 100) = 100').arguments[1] == Text(b"GET", open_ended=True)


def test_commands_and_code_may_stand_without_a_time() -> None:
    script = parse("`./common/defaults.sh\nsysctl -q a=1`\n0 close(3) = 0\n+0 %{ assert tcpi_unacked == 3, tcpi_unacked }%\n")
    assert script.events[0].action == Command("./common/defaults.sh\nsysctl -q a=1")
    assert script.events[2].action == Code("assert tcpi_unacked == 3, tcpi_unacked")
    assert [event.line for event in script.events] == [1, 3, 4]


def test_options_of_a_script() -> None:
    script = parse("// first\n--tolerance_usecs=10000\n--ip_version=ipv6\n--strict_segments\n0 close(3) = 0")
    assert [(option.line, option.name, option.value) for option in script.options] == [
        (2, "tolerance_usecs", "10000"),
        (3, "ip_version", "ipv6"),
        (4, "strict_segments", None),
    ]


def test_definitions() -> None:
    call = parse('--define=SIZE=1000\n--define=CC="reno"\n0 f(SIZE, CC, "SIZE") = SIZE').events[0].action
    assert isinstance(call, SystemCall)
    assert call.arguments == (Number(1000, "1000"), Text(b"reno"), Text(b"SIZE"))


def test_comments() -> None:
    script = parse("# one\n/* two\nlines */ 0 close(3) = 0 // three\n  # four\n+0 close(4) = 0 /* five */")
    assert [event.line for event in script.events] == [3, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 close(3) = 0\n+0 < S 0:0 win 5", "s.pkt:2: expected ( and the length of the payload, found 'win 5'"),
        ("0 < S 0:1(0)", "s.pkt:1: 0:1(0): the end must be 0"),
        ("0 > S 0:0(0) <mss>", "s.pkt:1: expected an MSS, found '>'"),
        ("0 > S 0:0(0) <mss 70000>", "s.pkt:1: an MSS must be 0 to 65535, not 70000"),
        ("0 > S 0:0(0) win 70000", "s.pkt:1: a window must be 0 to 65535, not 70000"),
        ("0 > X 0:0(0)", "s.pkt:1: expected TCP flags (F S R P E W A U and . for ACK, or - for none), found 'X 0:0(0)'"),
        ("0 close(3 = 0", "s.pkt:1: expected , or ) in the arguments of close, found '= 0'"),
        ("0 close(3)", "s.pkt:1: expected = and the result of close, found the end of the file"),
        ("close(3) = 0", "s.pkt:1: expected the time of an event (0.1, +.1, .1~.2 or *), found 'close(3) = 0'"),
        ("0 !", "s.pkt:1: expected a packet (< or >), a system call, a `command` or %{ code }%, found '!'"),
        ("\n\n`sleep 1", "s.pkt:3: expected ` at the end of the command, found '`sleep 1'"),
        ("0 %{ assert", "s.pkt:1: expected }% at the end of the code, found '%{ assert'"),
        ("/* 0 close(3) = 0", "s.pkt:1: expected */ at the end of the comment"),
        ("0.2~0.1 > . 1:1(0)", "s.pkt:1: the time range is backwards"),
        ("// nothing", "s.pkt:1: expected an event"),
    ],
)
def test_errors_say_where_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ScriptError) as raised:
        parse(text, "s.pkt")
    assert str(raised.value) == message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ScriptError, match="no such file"):
        load("/nonexistent/script.pkt")


def test_the_cases_of_a_file_share_what_stands_before_the_first(tmp_path: Path) -> None:
    path = tmp_path / "s.pkt"
    path.write_text("0 socket(1) = 3\n// case: one\n+0 close(3) = 0\n// case: two, RFC 1\n+0 listen(3) = 0\n")
    scripts = load(str(path))
    assert [script.case for script in scripts] == ["one", "two, RFC 1"]
    assert [[event.line for event in script.events] for script in scripts] == [[1, 3], [1, 5]]


def test_a_case_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "s.pkt"
    path.write_text("0 socket(1) = 3\n// case:\n+0 close(3) = 0\n")
    with pytest.raises(ScriptError, match="a case needs a name"):
        load(str(path))
