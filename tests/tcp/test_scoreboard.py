"""The record of transmissions has a bounded size, and stays a picture of what is outstanding when it is full (RFC 8985)."""

import random
from typing import Any

import pytest

from netstack.tcp.scoreboard import (
    DOUBLED,
    IN_FLIGHT,
    LOST,
    MAX_RUNS,
    REPAIRED,
    SACKED,
    SCOREBOARD,
    SENT_ONCE,
    count_runs,
    forget_losses,
    note_sent,
    runs_below,
    runs_between,
    tidy,
)
from tests.helpers.packet_trace import new_pcb, record

MSS = 1000
FIRST = (1 << 32) - 5 * MSS  # numbers wrap soon


class Sender:
    """A pcb with its record of transmissions."""

    def __init__(self) -> None:
        self.pcb, self.cold = new_pcb()
        self.board: Any = record(SCOREBOARD)
        self.pcb.mss = MSS
        self.pcb.snd_una = self.pcb.snd_max = FIRST

    def send(self, first: int, count: int, now_us: int) -> None:
        """Send so many segments from segment number `first` on."""
        for number in range(first, first + count):
            end = (FIRST + (number + 1) * MSS) % 2**32
            note_sent(self.pcb, self.board, (FIRST + number * MSS) % 2**32, end, now_us)
            if (number + 1) * MSS > (self.pcb.snd_max - FIRST) % 2**32:
                self.pcb.snd_max = end

    def mark(self, number: int, state: int) -> None:
        """Let a segment be reported or lost."""
        seq = (FIRST + number * MSS) % 2**32
        first, last = runs_between(self.pcb, self.board, seq, (seq + MSS) % 2**32)
        for index in range(first, last):
            self.board.run_state[index] = state
        tidy(self.board, self.pcb.snd_una)
        count_runs(self.pcb, self.board)

    def runs(self) -> list[tuple[int, int, int]]:
        """First byte, end and fate of each run, counted from the first byte."""
        count = int(self.board.run_count)
        ends = [(int(end) - FIRST) % 2**32 for end in self.board.run_end[:count]]
        states = [int(state) for state in self.board.run_state[:count]]
        return list(zip([0, *ends[:-1]], ends, states, strict=True)) if count else []


@pytest.fixture
def sender() -> Sender:
    return Sender()


def test_segments_sent_at_once_are_one_run(sender: Sender) -> None:
    sender.send(0, 10, now_us=5)
    assert sender.runs() == [(0, 10 * MSS, IN_FLIGHT)]
    assert sender.board.run_segments[0] == 10
    sender.send(10, 2, now_us=6)
    assert sender.runs() == [(0, 10 * MSS, IN_FLIGHT), (10 * MSS, 12 * MSS, IN_FLIGHT)]
    assert sender.board.flight_segments == 12


def test_a_report_cuts_a_run_in_three_and_neighbours_join_again(sender: Sender) -> None:
    sender.send(0, 5, now_us=5)
    sender.mark(2, SACKED)
    assert sender.runs() == [(0, 2 * MSS, IN_FLIGHT), (2 * MSS, 3 * MSS, SACKED), (3 * MSS, 5 * MSS, IN_FLIGHT)]
    assert list(sender.board.run_segments[:3]) == [2, 1, 2]
    assert (sender.board.flight_segments, sender.board.sacked_segments) == (4, 1)
    sender.mark(3, SACKED)
    assert sender.runs() == [(0, 2 * MSS, IN_FLIGHT), (2 * MSS, 4 * MSS, SACKED), (4 * MSS, 5 * MSS, IN_FLIGHT)]


def test_a_retransmission_is_in_flight_again_with_its_own_time(sender: Sender) -> None:
    sender.send(0, 3, now_us=5)
    sender.mark(0, LOST)
    assert (sender.board.flight_segments, sender.board.lost_segments, sender.board.lost_bytes) == (2, 1, MSS)
    sender.send(0, 1, now_us=9)
    assert list(sender.board.run_sent_us[:2]) == [9, 5]
    assert list(sender.board.run_repeated[:2]) == [REPAIRED, SENT_ONCE]
    assert (sender.board.flight_segments, sender.board.lost_segments, sender.board.lost_bytes) == (3, 1, 0)
    assert sender.board.repeated_segments == 1


def test_when_there_is_no_room_times_get_later_and_never_earlier(sender: Sender) -> None:
    for number in range(3 * MAX_RUNS):
        sender.send(number, 1, now_us=number)
    assert sender.board.run_count <= MAX_RUNS
    assert sender.runs()[-1][1] == 3 * MAX_RUNS * MSS
    for (start, _, _), sent_us in zip(sender.runs(), sender.board.run_sent_us, strict=False):
        assert sent_us >= start // MSS


def test_when_no_two_neighbours_are_alike_something_is_forgotten_and_nothing_invented(sender: Sender) -> None:
    sender.send(0, 2 * MAX_RUNS, now_us=1)
    for number in range(0, 2 * MAX_RUNS, 2):
        sender.mark(number, SACKED)
    assert sender.board.run_count <= MAX_RUNS
    assert sender.runs()[-1][1] == 2 * MAX_RUNS * MSS
    reported = [run for run in sender.runs() if run[2] == SACKED]
    assert all(end - start == MSS and start // MSS % 2 == 0 for start, end, _ in reported)
    assert len(reported) > MAX_RUNS // 3


@pytest.mark.parametrize("seed", range(5))
def test_runs_follow_each_other_whatever_happens(sender: Sender, seed: int) -> None:
    generator = random.Random(seed)
    sender.send(0, 1500, now_us=1)
    fates = {IN_FLIGHT: "send", SACKED: "mark", LOST: "mark"}
    for now_us in range(2, 3000):
        number = generator.randrange(1500)
        fate = generator.choice([IN_FLIGHT, SACKED, LOST])
        if fates[fate] == "send":
            sender.send(number, 1, now_us)
        else:
            sender.mark(number, fate)
    runs = sender.runs()
    assert [run[0] for run in runs] == [0, *(run[1] for run in runs[:-1])]
    assert all(start < end for start, end, _ in runs)
    assert runs[-1][1] == 1500 * MSS
    for state, count in ((IN_FLIGHT, sender.board.flight_segments), (SACKED, sender.board.sacked_segments)):
        assert count * MSS == sum(end - start for start, end, fate in runs if fate == state)
    assert sender.board.lost_bytes == sum(end - start for start, end, state in runs if state == LOST)
    assert sender.board.outstanding_segments == 1500


def test_short_segments_count_like_full_ones(sender: Sender) -> None:
    """Three writes of 100 bytes, then 2,500: two full segments and one of 500 bytes."""
    for end, now_us in ((100, 5), (200, 5), (300, 5), (1300, 5), (2300, 5), (2800, 5)):
        seq = (FIRST + end) % 2**32
        note_sent(sender.pcb, sender.board, sender.pcb.snd_max, seq, now_us)
        sender.pcb.snd_max = seq
    assert sender.board.flight_segments == 6
    first = runs_below(sender.pcb, sender.board, (FIRST + 1300) % 2**32)
    assert sum(int(count) for count in sender.board.run_segments[:first]) == 4


@pytest.mark.parametrize(("acked", "below"), [(999, 0), (1000, 1), (1500, 1), (4999, 4), (5000, 5)])
def test_a_segment_that_is_acknowledged_in_part_is_still_outstanding(sender: Sender, acked: int, below: int) -> None:
    sender.send(0, 5, now_us=5)
    first = runs_below(sender.pcb, sender.board, (FIRST + acked) % 2**32)
    assert sum(int(count) for count in sender.board.run_segments[:first]) == below
    assert sum(int(count) for count in sender.board.run_segments[: int(sender.board.run_count)]) == 5


def test_losses_that_were_none_are_forgotten(sender: Sender) -> None:
    sender.send(0, 3, now_us=5)
    sender.mark(0, LOST)
    sender.mark(1, LOST)
    sender.send(0, 1, now_us=9)
    forget_losses(sender.pcb, sender.board)
    assert list(sender.board.run_repeated[:2]) == [DOUBLED, SENT_ONCE]
    assert (sender.board.lost_segments, sender.board.repeated_segments) == (0, 1)
    assert sender.board.flight_segments == 4  # the first one and its retransmission are both on the way
