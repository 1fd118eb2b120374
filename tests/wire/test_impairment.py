"""Each kind of harm against counting, statistics, and the conservation of packets."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from netstack.errors import ConfigError
from netstack.wire.impairment import Impairment, ImpairmentSettings, ip_header_bytes, parse_settings

COUNT = 4000
ERROR_PROBABILITY = 1e-9
"""That a test of statistics fails by chance, for one seed."""

shares = st.one_of(st.just(0.0), st.floats(0.0, 1.0))
settings_of_all_kinds = st.builds(
    ImpairmentSettings,
    loss=shares,
    duplicate=shares,
    corrupt=shares,
    reorder=shares,
    reorder_distance=st.integers(1, 8),
    delay_us=st.integers(0, 5000),
    jitter_us=st.integers(0, 5000),
    rate_bps=st.one_of(st.just(0), st.integers(10_000, 10**9)),
    queue_bytes=st.integers(0, 10_000),
    seed=st.integers(0, 2**32),
)
schedules = st.lists(st.tuples(st.integers(0, 3000), st.integers(20, 1500)), max_size=60)
"""Microseconds since the packet before, and bytes."""


def packet(number: int, size: int = 100) -> bytes:
    return (b"\x45\x00\x00\x00" + number.to_bytes(8, "big")).ljust(size, b"\x5a")


def number_of(raw: bytes) -> int:
    return int.from_bytes(raw[4:12], "big")


def pass_through(stage: Impairment, count: int, gap_us: int = 10, size: int = 100) -> list[bytes]:
    """Send packets with a gap between them, then wait for all that is on the way."""
    arrived = []
    for number in range(count):
        stage.offer(packet(number, size), number * gap_us)
        arrived += stage.take(number * gap_us)
    return arrived + drain(stage)


def drain(stage: Impairment) -> list[bytes]:
    arrived = []
    while (deadline_us := stage.next_deadline_us()) is not None:
        before = stage.queued
        arrived += stage.take(deadline_us)
        later_us = stage.next_deadline_us()
        assert later_us is None or later_us > deadline_us or stage.queued < before  # never a deadline with nothing to do
    return arrived


def assert_plausible(successes: int, trials: int, probability: float) -> None:
    low, high = binom.ppf([ERROR_PROBABILITY / 2, 1 - ERROR_PROBABILITY / 2], trials, probability)
    assert low <= successes <= high


@given(schedules)
def test_a_perfect_network_changes_nothing(schedule: list[tuple[int, int]]) -> None:
    stage, now_us = Impairment(ImpairmentSettings()), 0
    for number, (gap_us, size) in enumerate(schedule):
        now_us += gap_us
        stage.offer(packet(number, size), now_us)
        assert stage.take(now_us) == [packet(number, size)]
        assert stage.next_deadline_us() is None


@given(settings_of_all_kinds, schedules, st.lists(st.booleans(), min_size=60, max_size=60))
def test_packets_are_conserved(settings: ImpairmentSettings, schedule: list[tuple[int, int]], takes: list[bool]) -> None:
    stage, now_us, arrived = Impairment(settings), 0, []
    for number, (gap_us, size) in enumerate(schedule):
        now_us += gap_us
        stage.offer(packet(number, size), now_us)
        if takes[number]:
            arrived += stage.take(now_us)
        assert stage.offered + stage.duplicated == stage.delivered + stage.lost + stage.overflowed + stage.queued
    arrived += drain(stage)
    assert stage.queued == 0
    assert len(arrived) == stage.delivered == len(schedule) + stage.duplicated - stage.lost - stage.overflowed


@given(settings_of_all_kinds, schedules)
def test_a_seed_gives_the_same_again(settings: ImpairmentSettings, schedule: list[tuple[int, int]]) -> None:
    def run() -> list[tuple[int, bytes]]:
        stage, now_us, arrived = Impairment(settings), 0, []
        for number, (gap_us, size) in enumerate(schedule):
            now_us += gap_us
            stage.offer(packet(number, size), now_us)
            arrived += [(now_us, raw) for raw in stage.take(now_us)]
        return arrived + [(-1, raw) for raw in drain(stage)]

    assert run() == run()


def test_seeds_and_directions_differ() -> None:
    def lost(seed: int, direction: str) -> list[bytes]:
        return pass_through(Impairment(ImpairmentSettings(loss=0.5, seed=seed), direction), 100)

    assert lost(1, "in") != lost(2, "in")
    assert lost(1, "in") != lost(1, "out")


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 1.0])
def test_loss(share: float) -> None:
    stage = Impairment(ImpairmentSettings(loss=share))
    arrived = [number_of(raw) for raw in pass_through(stage, COUNT)]
    assert_plausible(COUNT - len(arrived), COUNT, share)
    assert arrived == sorted(set(arrived))


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_duplication(share: float) -> None:
    stage = Impairment(ImpairmentSettings(duplicate=share))
    arrived = [number_of(raw) for raw in pass_through(stage, COUNT)]
    assert_plausible(len(arrived) - COUNT, COUNT, share)
    assert set(arrived) == set(range(COUNT))


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_corruption_inverts_one_bit(share: float) -> None:
    stage = Impairment(ImpairmentSettings(corrupt=share))
    differing = [
        int.from_bytes(raw, "big") ^ int.from_bytes(packet(number), "big")
        for number, raw in enumerate(pass_through(stage, COUNT))
    ]
    changed = [bits for bits in differing if bits]
    assert_plausible(len(changed), COUNT, share)
    assert all(bits.bit_count() == 1 for bits in changed)
    in_header = sum(bits.bit_length() > 8 * 80 for bits in changed)
    assert_plausible(in_header, len(changed), 0.1)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_reordering(share: float) -> None:
    stage = Impairment(ImpairmentSettings(reorder=share))
    arrived = [number_of(raw) for raw in pass_through(stage, COUNT)]
    assert sorted(arrived) == list(range(COUNT))
    assert_plausible(stage.reordered, COUNT, share)
    late = [place - number for place, number in enumerate(arrived) if place > number]
    assert 0 < len(late) <= stage.reordered


def test_a_reordered_packet_comes_after_at_most_the_distance() -> None:
    stage = Impairment(ImpairmentSettings(reorder=0.05, reorder_distance=2))
    arrived = [number_of(raw) for raw in pass_through(stage, COUNT)]
    overtaken_by = []
    for place, number in enumerate(arrived):
        overtaken_by.append(sum(earlier > number for earlier in arrived[max(0, place - 20) : place]))
    assert max(overtaken_by) == 2


def test_a_reordered_packet_that_none_follows_is_not_kept() -> None:
    stage = Impairment(ImpairmentSettings(reorder=1.0))
    stage.offer(packet(1), 0)
    assert stage.take(0) == []
    assert stage.next_deadline_us() == 10_000
    assert stage.take(9_999) == []
    assert stage.take(10_000) == [packet(1)]


def test_delay() -> None:
    stage = Impairment(ImpairmentSettings(delay_us=50_000))
    stage.offer(packet(1), 7)
    stage.offer(packet(2), 8)
    assert stage.take(50_006) == []
    assert stage.next_deadline_us() == 50_007
    assert stage.take(50_007) == [packet(1)]
    assert stage.take(50_008) == [packet(2)]


def test_jitter_keeps_the_order_and_the_bounds() -> None:
    stage = Impairment(ImpairmentSettings(delay_us=1000, jitter_us=400))
    arrivals = []
    for number in range(1000):
        stage.offer(packet(number), number * 10_000)
        deadline_us = stage.next_deadline_us()
        assert deadline_us is not None
        assert [number_of(raw) for raw in stage.take(deadline_us)] == [number]
        arrivals.append(deadline_us - number * 10_000)
    assert 600 <= min(arrivals) < 650
    assert 1350 < max(arrivals) <= 1400
    close = Impairment(ImpairmentSettings(delay_us=1000, jitter_us=1000))
    assert [number_of(raw) for raw in pass_through(close, 1000)] == list(range(1000))


def test_a_rate_spaces_packets_and_a_full_queue_drops() -> None:
    """1000 bytes at 8 Mb/s take 1 ms; behind the one on the link there is room for two."""
    stage = Impairment(ImpairmentSettings(rate_bps=8_000_000, queue_bytes=3000))
    for number in range(5):
        stage.offer(packet(number, 1000), 0)
    assert stage.overflowed == 2
    assert [(time_us, [number_of(raw) for raw in stage.take(time_us)]) for time_us in (999, 1000, 2000, 2999, 3000)] == [
        (999, []),
        (1000, [0]),
        (2000, [1]),
        (2999, []),
        (3000, [2]),
    ]


@given(st.integers(100_000, 10**10), st.integers(20, 1500))
def test_a_rate_holds_in_the_long_run(rate_bps: int, size: int) -> None:
    stage = Impairment(ImpairmentSettings(rate_bps=rate_bps, queue_bytes=10**9))
    for number in range(200):
        stage.offer(packet(number, size), 0)
    last_us = max(entry[0] for entry in stage._in_transit)
    assert last_us == pytest.approx(math.ceil(200 * size * 8e6 / rate_bps), abs=1)


def test_where_the_ip_header_ends() -> None:
    assert ip_header_bytes(b"\x45" + bytes(60)) == 20
    assert ip_header_bytes(b"\x4f" + bytes(60)) == 60
    assert ip_header_bytes(b"\x60" + bytes(60)) == 40


def test_the_command_line_is_read() -> None:
    texts = {"loss": "5%", "duplicate": "0.02", "corrupt": "1 %", "reorder": "100%", "reorder-distance": "5", "delay": "50ms"}
    texts |= {"jitter": "1.1ms", "rate": "100mbit", "queue": "64KiB", "seed": "7"}
    assert parse_settings(texts) == ImpairmentSettings(
        loss=0.05,
        duplicate=0.02,
        corrupt=0.01,
        reorder=1.0,
        reorder_distance=5,
        delay_us=50_000,
        jitter_us=1_100,
        rate_bps=100_000_000,
        queue_bytes=65_536,
        seed=7,
    )


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("loss", "101%"),
        ("loss", "2"),
        ("loss", "-1%"),
        ("loss", "five"),
        ("loss", ""),
        ("delay", "50"),
        ("delay", "5h"),
        ("rate", "100mb"),
        ("queue", "1.5.2"),
        ("seed", "1.5"),
        ("seed", "-1"),
        ("reorder-distance", "0"),
        ("flood", "1"),
    ],
)
def test_what_cannot_be_read_is_named(option: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^--{option}={text}: .*(such as|allowed are)"):
        parse_settings({option: text})


@pytest.mark.parametrize("values", [{"loss": -0.1}, {"corrupt": 1.1}, {"delay_us": -1}, {"reorder_distance": 0}])
def test_impossible_settings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        ImpairmentSettings(**values)  # pyright: ignore[reportArgumentType]
