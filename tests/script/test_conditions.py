"""Lines that hold on one platform only, and names that stand for values."""

import pytest

from netstack.script.conditions import choose_lines
from netstack.script.parser import parse
from netstack.script.settings import platform_of
from netstack.script.syntax import Command, Number, ScriptError, SystemCall

TEXT = """#ifdef linux
a
#ifndef linux
b
#else
c
#endif
#else
d
#endif
# a comment
e"""


@pytest.mark.parametrize(("names", "kept"), [({"linux": "1"}, "ac"), ({}, "d")])
def test_lines_are_chosen_and_keep_their_numbers(names: dict[str, str], kept: str) -> None:
    text, _ = choose_lines(TEXT, "s.pkt", names)
    lines = text.split("\n")
    assert "".join(lines[:10]) == kept
    assert lines[10:] == ["# a comment", "e"]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [("#if 1", True), ("#if 0", False), ("#if defined(A)", True), ("#if !defined(A)", False), ("#if !defined(B)", True)],
)
def test_conditions(condition: str, holds: bool) -> None:
    assert choose_lines(f"{condition}\nx\n#endif", "s.pkt", {"A": ""})[0].strip() == ("x" if holds else "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n#ifdef A\ny", "s.pkt:2: a condition without #endif"),
        ("x\n#endif", "s.pkt:2: #endif without #ifdef"),
        ("#if A > 1\n#endif", "s.pkt:1: #if A > 1: only a name can be asked for"),
        ("#define 7 x", "s.pkt:1: #define needs a name"),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(ScriptError) as raised:
        choose_lines(text, "s.pkt", {})
    assert str(raised.value) == message


def test_a_definition_of_the_command_goes_before_that_of_the_script() -> None:
    text = "--define=LENGTH=5\n0 write(4, ..., LENGTH) = LENGTH\n"
    for definitions, length in ((("LENGTH=7",), 7), ((), 5)):
        call = parse(text, definitions=definitions).events[0].action
        assert isinstance(call, SystemCall)
        assert call.result == Number(length, str(length))


def test_a_definition_may_be_a_command() -> None:
    script = parse(
        "CONFIG\n0 close(3) = 0\n".replace("CONFIG", "+0 CONFIG"), definitions=("CONFIG=`sysctl -q net.ipv4.tcp_sack=0`",)
    )
    assert script.events[0].action == Command("sysctl -q net.ipv4.tcp_sack=0")


@pytest.mark.parametrize(
    ("call", "platform"),
    [
        ("setsockopt(3, IPPROTO_TCP, TCP_FUNCTION_BLK, {}, 36) = 0", "freebsd"),
        ("epoll_create(1) = 5", "linux"),
        ("setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0", "any"),
    ],
)
def test_a_call_shows_the_platform(call: str, platform: str) -> None:
    assert platform_of(parse(f"0 {call}\n")) == platform
