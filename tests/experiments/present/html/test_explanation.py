"""Explanations are computed: they follow the numbers wherever these go."""

from experiments.paper.verdicts import PointKey
from experiments.present.html.explanation import explanations, winners


def test_winners_and_what_the_others_spend_more(make_result) -> None:
    points = {
        PointKey("connp_l", 6, 128, 1): make_result(4000.0, protocol=4000.0, lock_spin=100.0),
        PointKey("connp_l", 192, 128, 1): make_result(5000.0, protocol=3000.0, lock_spin=100.0),
        PointKey("msgp", 6, 1, 1): make_result(5000.0, protocol=3000.0, lock_spin=100.0),
        PointKey("msgp", 192, 1, 1): make_result(4000.0, protocol=3100.0, lock_spin=900.0, cache_stall=50.0),
    }
    assert winners(points) == [
        "msgp sends most at 6 connections.",
        "connp_l(128) sends most at 192 connections.",
        "msgp is 20 % behind the best: a KB costs it 950 cycles more on average, 800 of them for locks and "
        "100 for protocol work.",
        "connp_l(128) is 20 % behind the best: a KB costs it 1,000 cycles more on average, 1,000 of them for protocol work and "
        "0 for drivers.",
    ]
    assert winners({key: result for key, result in points.items() if key.org == "msgp"}) == []


def test_a_gain_is_made_of_cores_idling_and_costs(make_result) -> None:
    one, four = make_result(4000.0, protocol=4000.0), make_result(6000.0, protocol=5000.0, cache_stall=3000.0, contention=7.0)
    one.utilization, four.utilization = 1.0, 0.75
    four.core_cycles_per_kb = four.core_cycles_per_kb * 4
    points = {PointKey("up", 192, 1, 1): one, PointKey("msgp", 192, 1, 1): four}
    up, msgp = explanations(points)
    assert (up.name, msgp.name) == ("up", "msgp")
    ((load, sentences),) = msgp.loads
    assert load == "192 connections"
    assert sentences[0] == "6,000 Mb/s, 50 % more than up; the links are full, and 25 % of the cycles are idle."
    assert sentences[1] == "A KB costs 8,000 busy cycles, 4,000 more than up: 3,000 for cache stalls and 1,000 for protocol work."
    assert sentences[2] == (
        "4 times up's cores, 75 % as busy, at 2.00 times its cycles per KB: 4 × 0.75 ÷ 2.00 = 1.50 times its goodput."
    )
    assert sentences[3].startswith("The largest shares of its 1.0 L2 misses per KB: connections 50 %, sockets 30 %")
    assert sentences[4] == "Its one table lock was not free at once in 7 % of the acquisitions, without lock profiling."


def test_one_processor_is_compared_with_itself(published_world) -> None:
    up = explanations(published_world)[0]
    assert up.summary == "Most at 6 connections (4,034 Mb/s), least at 16,384 (2,407 Mb/s, 40 % less)."
    assert [heading for heading, _ in up.loads] == ["6 connections", "192 connections", "16,384 connections"]
    assert "0 less than at 6 connections" in up.loads[1][1][1]


def test_seeds_of_connp_l_that_fill_the_links_are_counted(make_result) -> None:
    """98 % of 5,650 Mb/s is 5,537. Loads below 48 and above 192 have one regime, and no seed that fills them is not said."""
    points = {
        PointKey("connp_l", load, 128, seed): make_result(goodput)
        for load, goodputs in {24: (5650, 5650), 48: (5538, 5536), 96: (5440, 5440), 192: (5650, 5640)}.items()
        for seed, goodput in enumerate(goodputs, 1)
    }
    (told,) = explanations(points)
    assert told.summary.endswith(
        "It fills the links (more than 98 % of 5,650 Mb/s) with 1 of 2 seeds at 48 and 2 of 2 seeds at 192 connections."
    )
    (without,) = explanations({key: result for key, result in points.items() if key.conns in (24, 96)})
    assert "fills" not in without.summary


def test_lock_profiling_explains_nothing(make_result) -> None:
    measured = {
        PointKey("up", 6, 1, 1): make_result(4000.0, protocol=4000.0),
        PointKey("msgp", 6, 1, 1): make_result(5000.0, protocol=3000.0, contention=60.0),
    }
    profiled = {
        PointKey("msgp", 6, 1, 1, True): make_result(900.0, protocol=9000.0, contention=89.0),
        PointKey("msgp", 192, 1, 1, True): make_result(9000.0, contention=100.0),
    }
    assert explanations(measured | profiled) == explanations(measured)
    assert winners(measured | profiled) == winners(measured)
    assert explanations(profiled) == winners(profiled) == []
