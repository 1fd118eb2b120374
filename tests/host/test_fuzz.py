"""A part of the fuzzing of `fuzz_segments` in every run of the tests."""

import random
from collections import Counter

import pytest

from netstack.host.socket import Socket
from netstack.tcp.states import State
from tests.host.fuzz_segments import STATES, Segment, allowed_states, fuzz, fuzz_connection


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    return fuzz(30_000, seed=1)


def test_no_segment_breaks_an_invariant_or_leads_where_the_rfc_does_not(seen: Counter[str]) -> None:
    assert seen.total() >= 30_000


def test_every_state_was_reached_and_left(seen: Counter[str]) -> None:
    """Or the fuzzing would show nothing."""
    for state in STATES[2:]:
        assert seen[f"{state.name} to {state.name}"] > 500
        assert sum(times for transition, times in seen.items() if transition.startswith(f"{state.name} to ")) > 1000
    for left in ("SYN_SENT to ESTABLISHED", "FIN_WAIT_1 to FIN_WAIT_2", "FIN_WAIT_2 to TIME_WAIT", "LAST_ACK to CLOSED"):
        assert seen[left] > 10


def test_a_wrong_transition_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that ignores resets."""
    monkeypatch.setattr(Socket, "_fail", lambda self, reason, before: setattr(self, "state_now", before))

    def fuzz_some() -> None:
        for number in range(300):
            fuzz_connection(random.Random(number), State.ESTABLISHED, Counter())

    with pytest.raises(AssertionError):
        fuzz_some()


def test_the_rules_know_a_reset() -> None:
    before = dict.fromkeys(
        ("iss", "irs", "snd_una", "snd_max", "rcv_nxt", "rcv_adv", "use_timestamps", "fin_queued", "passive"), 0
    )
    before |= {"state": int(State.ESTABLISHED), "rcv_nxt": 1000, "rcv_adv": 1500}
    assert allowed_states(False, False, before, Segment(1000, 0, 4)) == {State.CLOSED}
    assert allowed_states(False, False, before, Segment(1001, 0, 4)) == {State.ESTABLISHED}
    assert allowed_states(False, False, before, Segment(1500, 0, 4)) == {State.ESTABLISHED}
