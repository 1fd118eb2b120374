"""The budget's sums are those of cores, clock and goodput, and what the published numbers leave is computed by hand."""

import pytest

from experiments.paper.verdicts import PointKey, Points
from experiments.present.html.budget import budget_section, cycles_per_kb
from experiments.present.html.parts import Table
from netstack.sim import Result

CLOCK_MHZ = 2200.0


def number(text: str) -> float:
    return float(text.replace(",", ""))


def tables(points: Points) -> list[Table]:
    section = budget_section(points, dict.fromkeys(points, CLOCK_MHZ))
    assert section is not None
    return list(section.tables)


@pytest.fixture
def conserving(make_result):
    """Return a function that makes a result of some cores and cycles per KB, whose goodput is what these cores then send."""

    def make(cores: int, misses: float = 1.0, **cycles: float) -> Result:
        total = sum(cycles.values())
        made = make_result(cores * CLOCK_MHZ * 8192 / total, misses, **cycles)
        made.cycles_per_kb = {name: cycles.get(name, 0.0) for name in made.cycles_per_kb}
        made.core_cycles_per_kb = [{name: value / cores for name, value in made.cycles_per_kb.items()}] * cores
        return made

    return make


def test_the_parts_of_a_kb_sum_to_cores_times_clock_by_goodput(conserving) -> None:
    """Two seeds that differ: the whole is the mean of theirs, not what follows from their mean goodput."""
    parts = {"protocol": 2000.0, "application": 300.0, "driver": 500.0, "interrupt": 60.0, "copy": 90.0, "scheduling": 1300.0}
    locks = {"lock_atomic": 400.0, "lock_spin": 2500.0, "lock_sleep": 200.0}
    points = {
        PointKey("msgp", 192, 1, 1): conserving(4, 20.0, **parts, **locks, cache_stall=4000.0, idle=1000.0),
        PointKey("msgp", 192, 1, 2): conserving(4, 20.0, **parts, **locks, cache_stall=6000.0, idle=3000.0),
    }
    (row,) = tables(points)[0].rows
    assert row[0] == "msgp at 192"
    summands, whole = [number(text) for text in row[1:8]], number(row[8])
    assert summands == [2300, 560, 90, 1300, 3100, 5000, 2000]
    assert whole == sum(summands) == 14350
    assert number(row[9]) == pytest.approx((4 * 2200 * 8192 / 12350 + 4 * 2200 * 8192 / 16350) / 2, abs=1)
    assert row[10:] == ("", "")


def test_the_budget_of_a_simulated_point_is_whole(result: Result, composed) -> None:
    """What the simulator counts by category is what its cores had: nothing is counted twice or lost."""
    config = composed("conns=6")
    key = PointKey.of(config)
    section = budget_section({key: result}, {key: config.machine.clock_mhz})
    assert section is not None
    (row,) = section.tables[0].rows
    assert sum(number(text) for text in row[1:8]) == pytest.approx(number(row[8]), rel=0.001)
    assert number(row[8]) == pytest.approx(cycles_per_kb(4, 2200, result.goodput_mbps), rel=0.001)


def test_what_is_published_and_what_follows_from_it(published_world) -> None:
    sums, _ = tables(published_world)
    known = {row[0]: tuple(row[10:]) for row in sums.rows if row[10]}
    assert known == {
        "up at 6": ("4,034", f"{2200 * 8192 / 4034:,.0f}"),
        "msgp at 16,384": ("3,899", f"{2200 * 8192 / (1.62 * 2407):,.0f}"),
        "connp_l(128) at 192": ("5,440", f"{2200 * 8192 / 5440:,.0f}"),
        "connp_l(128) at 16,384": ("5,440", f"{2200 * 8192 / (2.26 * 2407):,.0f}"),
    }
    assert len(sums.rows) == 12


def test_whether_the_published_misses_fit(conserving) -> None:
    """connp_l at 192: 13,252 cycles per KB at 5,440 Mb/s; 26.18 misses of 250 are 6,545, beside 6,000 of other work."""
    points = {PointKey("connp_l", 192, 128, 1): conserving(4, 16.0, protocol=6000.0, cache_stall=4000.0, idle=2000.0)}
    ((label, *cells),) = tables(points)[1].rows
    assert label == "connp_l(128) at 192"
    assert cells == ["26.18", "250", "6,545", "6,000", "12,545", "13,252", "+707", "5,440 Mb/s, published"]
    points = {PointKey("connp_t", 192, 4, 1): conserving(4, 10.0, protocol=6000.0, cache_stall=2500.0)}
    ((_, *cells),) = tables(points)[1].rows
    assert cells == ["50.38", "250", "12,595", "6,000", "18,595", "8,500", "-10,095", "8,481 Mb/s, simulated"]


def test_of_nothing_and_of_less(make_result, conserving) -> None:
    assert budget_section({}, {}) is None
    profiled = {PointKey("msgp", 6, 1, 1, True): make_result(900.0)}
    assert budget_section(profiled, dict.fromkeys(profiled, CLOCK_MHZ)) is None
    assert len(tables({PointKey("up", 6, 1, 1): conserving(1, protocol=4000.0)})) == 1
    ((_, *cells),) = tables({PointKey("msgp", 6, 1, 1): conserving(4, 0.0, protocol=4000.0)})[1].rows
    assert cells == ["37.29", "", "", "4,000", "", "4,000", "", "18,022 Mb/s, simulated"]
    without_up = {PointKey("msgp", 16384, 1, 1): conserving(4, 5.0, protocol=4000.0)}
    assert tables(without_up)[0].rows[0][10:] == ("", "")
