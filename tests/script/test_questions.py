"""Commands that ask for states, and what they find in lines that are written down here."""

import pytest

from netstack.script.questions import answer, question_of
from netstack.script.settings import UnsupportedError

LINES = [
    ("root packetdril 1 3 tcp4 192.168.0.1:8080 *:* LISTEN\tLISTEN 0 0 192.168.0.1:8080 *:*", True),
    (
        "root packetdril 1 4 tcp4 192.168.0.1:8080 192.0.2.1:49152 FIN_WAIT_1\tFIN-WAIT-1 0 0 192.168.0.1:8080 192.0.2.1:49152",
        False,
    ),
]


@pytest.mark.parametrize(
    ("command", "holds"),
    [
        ("sockstat -4 -s | grep FIN_WAIT_1", True),
        ("sockstat | grep -q FIN_WAIT_2", False),
        ("! sockstat | grep FIN_WAIT_2", True),
        ("sockstat -4 -l | grep 49152", False),
        ("sockstat | grep 192.0.2.1 | grep -v LISTEN", True),
        ("sockstat | grep -v 8080", False),
        ("netstat -an -f inet | egrep 'CLOSED|LISTEN'", True),
        ("sockstat | grep -i fin_wait", True),
        ("sockstat | grep -w FIN_WAIT", False),
        ("ss -tan | grep FIN-WAIT-1", True),
        ("ss -tan | grep FIN_WAIT_1", False),
        ("/usr/bin/sockstat | grep -F 192.168.0.1:8080", True),
    ],
)
def test_questions(command: str, holds: bool) -> None:
    question = question_of(command)
    assert question is not None
    assert answer(question, LINES) == holds


@pytest.mark.parametrize("command", ["sysctl kern.hz=1000", "echo sockstat", "grep sockstat"])
def test_other_commands_are_no_questions(command: str) -> None:
    assert question_of(command) is None


@pytest.mark.parametrize("command", ["sockstat | wc -l", "sockstat | grep a b", "sockstat | grep -P x", "sockstat | grep '('"])
def test_a_question_that_is_not_known_is_unsupported(command: str) -> None:
    with pytest.raises(UnsupportedError):
        question_of(command)
