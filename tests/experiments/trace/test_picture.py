"""Which way of a write is found in a trace, from slices made by hand; and pictures of real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.config.user_errors import InputError
from experiments.trace.__main__ import BAD_INPUT, main
from experiments.trace.chrome import CORES, write_trace
from experiments.trace.picture import MARGIN_US, find_way
from netstack.sim import SimulationConfig, trace

PNG = b"\x89PNG\r\n\x1a\n"
Event = dict[str, Any]


def slices(*rows: tuple[float, int, str], connection: int = 3) -> list[Event]:
    """Return slices of 1 us from rows of time, core and name. Those of the page have mbuf 7."""
    return [
        {
            "ph": "X",
            "pid": CORES,
            "tid": core,
            "name": name,
            "cat": "protocol",
            "ts": time,
            "dur": 1.0,
            "args": {"cycles": 1} | ({} if name == "driver_receive" else {"connection": connection, "mbuf": 7}),
        }
        for time, core, name in rows
    ]


def arrow(begin: float, source: int, end: float, target: int) -> list[Event]:
    common = {"name": "hand-off", "cat": "flow", "id": 1, "pid": CORES}
    return [{**common, "ph": "s", "tid": source, "ts": begin}, {**common, "ph": "f", "bp": "e", "tid": target, "ts": end}]


WRITE = ((10, 0, "sosend_unit"), (12, 0, "tcp_output"), (14, 0, "driver_transmit"))
ACK = ((100, 1, "driver_receive"), (103, 1, "tcp_predict"), (105, 1, "sb_drop"), (107, 1, "so_notify"), (160, 1, "sosend_unit"))


def test_a_write_ends_at_the_link_and_goes_on_with_the_acknowledgment_of_its_page() -> None:
    way = find_way(slices(*WRITE, *ACK))
    assert [event["name"] for event in way.out] == ["sosend_unit", "tcp_output", "driver_transmit"]
    assert [event["name"] for event in way.back] == ["tcp_predict", "sb_drop", "so_notify"]
    assert way.spans == ((10 - MARGIN_US, 15 + MARGIN_US), (100 - MARGIN_US, 108 + MARGIN_US))


def test_an_acknowledgment_that_was_handed_over_begins_where_it_arrived() -> None:
    elsewhere = ((95, 2, "driver_receive"), (98, 1, "driver_receive"), *ACK[1:])
    way = find_way([*slices(*WRITE, *elsewhere), *arrow(97, 2, 102, 1)])
    assert way.spans[1][0] == 95 - MARGIN_US


def test_the_shortest_way_is_found_or_that_of_a_connection() -> None:
    late = [(time + 5 * (name == "driver_transmit"), core, name) for time, core, name in (*WRITE, *ACK)]
    events = [*slices(*late), *slices(*WRITE, *ACK, connection=4)]
    assert find_way(events).connection == 4
    assert find_way(events, 3).connection == 3


@pytest.mark.parametrize(
    "rows",
    [
        (*WRITE[:2], *ACK),  # nothing is sent
        WRITE,  # nothing is acknowledged
        (WRITE[0], (10.5, 1, "tcp_output"), *WRITE[2:], *ACK),  # the other core does not wait for the end of the write
        (WRITE[0], *((time + 50, core, name) for time, core, name in WRITE[1:]), *ACK),  # it is sent by something later
    ],
)
def test_what_is_no_whole_way_is_none(rows) -> None:
    with pytest.raises(InputError, match="give a larger trace_ms"):
        find_way(slices(*rows))


def test_of_two_writes_in_a_row_the_last_one_is_the_way() -> None:
    way = find_way(slices((9, 0, "sosend_unit"), *WRITE, *ACK))
    assert way.out[0]["ts"] == 10


@pytest.mark.parametrize("org", ["msgp", "connp_t"])
def test_a_picture_is_drawn(composed: Callable[..., SimulationConfig], org: str, tmp_path: Path, capsys) -> None:
    file, picture = tmp_path / "trace.json", tmp_path / "way.png"
    write_trace(file, trace(composed(f"org={org}", "conns=12"), 20, 2), {"point": org})
    assert main([str(file), "--picture", str(picture)]) == 0
    assert picture.read_bytes().startswith(PNG)
    assert f"written: {picture} (connection " in capsys.readouterr().out


def test_what_is_no_trace_is_one_line(tmp_path: Path, capsys) -> None:
    for text in (None, "{}", "no"):
        file = tmp_path / "x.json"
        if text is not None:
            file.write_text(text)
        assert main([str(file), "--picture", "x.png"]) == BAD_INPUT
        assert f"error: {file}: is no trace" in capsys.readouterr().err
