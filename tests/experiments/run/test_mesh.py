"""Messages among processes, here threads: each gets those of all, in order, and strangers get in nothing."""

import stat
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zmq

from experiments.run import mesh
from experiments.run.mesh import Mesh, new_keys

MEMBERS = 3
NODES = {"one node": "aaa", "two nodes": "aab", "three nodes": "abc"}
"""The node of each member."""


@pytest.fixture(params=NODES)
def members(request: pytest.FixtureRequest) -> Generator[list[Mesh], None, None]:
    keys = new_keys()
    made = [Mesh(index, keys, "127.0.0.1", node) for index, node in enumerate(NODES[request.param])]
    addresses = [member.address for member in made]
    with ThreadPoolExecutor(MEMBERS) as pool:
        list(pool.map(lambda member: member.connect(addresses), made))
    yield made
    for member in made:
        member.close()


def exchange(member: Mesh, own: np.ndarray) -> list[np.ndarray]:
    member.send(own)
    return member.receive(own)


def test_everybody_gets_what_all_sent_round_by_round(members: list[Mesh]) -> None:
    def talk(index: int) -> list[list[list[int]]]:
        """Send arrays of growing length; the first round is empty."""
        return [
            [array.tolist() for array in exchange(members[index], np.full(number * (index + 1), 100 * number + index))]
            for number in range(50)
        ]

    with ThreadPoolExecutor(MEMBERS) as pool:
        heard = list(pool.map(talk, range(MEMBERS)))
    expected = [[[100 * number + index] * (number * (index + 1)) for index in range(MEMBERS)] for number in range(50)]
    assert heard == [expected] * MEMBERS


def test_large_messages_arrive_whole(members: list[Mesh]) -> None:
    arrays = [np.random.default_rng(index).integers(-(2**62), 2**62, 300_000) for index in range(MEMBERS)]
    with ThreadPoolExecutor(MEMBERS) as pool:
        heard = list(pool.map(lambda index: exchange(members[index], arrays[index]), range(MEMBERS)))
    assert all(np.array_equal(got, sent) for part in heard for got, sent in zip(part, arrays, strict=True))


def test_a_member_may_be_some_messages_ahead(members: list[Mesh]) -> None:
    """Large ones, more than a socket takes: all send three before the first one listens."""
    arrays = [[np.full(100_000, 10 * index + number) for number in range(3)] for index in range(MEMBERS)]

    def talk(index: int) -> list[list[int]]:
        for array in arrays[index]:
            members[index].send(array)
        return [[int(got[-1]) for got in members[index].receive(array)] for array in arrays[index]]

    with ThreadPoolExecutor(MEMBERS) as pool:
        heard = list(pool.map(talk, range(MEMBERS)))
    assert heard == [[[10 * index + number for index in range(MEMBERS)] for number in range(3)]] * MEMBERS


def test_one_that_has_ended_is_as_one_that_is_silent(members: list[Mesh], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who started the members sees that one is lost: another must not fail before that."""
    members[2].close()
    monkeypatch.setattr(mesh, "WAIT_SECONDS", 0.5)
    with pytest.raises(TimeoutError, match="no message from another process"):
        exchange(members[0], np.zeros(1, np.int64))


def test_only_this_user_can_reach_the_sockets_of_a_node() -> None:
    member = Mesh(0, new_keys(), "127.0.0.1", "a")
    folder = Path(member.address.path).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    member.connect([member.address])
    assert not folder.exists()
    member.close()


@pytest.mark.parametrize("stranger", ["other keys", "no keys", "the server's key alone"])
def test_who_has_not_the_keys_is_not_heard(stranger: str, members: list[Mesh], monkeypatch: pytest.MonkeyPatch) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.routing_id = b"2"
    if stranger != "no keys":
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        right = stranger == "the server's key alone"
        socket.curve_serverkey = members[0]._keys.server_public if right else zmq.curve_keypair()[0]
    socket.connect(members[0].address.tcp)
    socket.send(np.arange(4).tobytes())
    monkeypatch.setattr(mesh, "WAIT_SECONDS", 0.5)
    with pytest.raises(TimeoutError, match="no message from another process"):
        exchange(members[0], np.zeros(1, np.int64))
    socket.close()
    context.term()


def test_a_member_alone_waits_for_nobody() -> None:
    alone = Mesh(0, new_keys(), "127.0.0.1", "a")
    alone.connect([alone.address])
    assert [array.tolist() for array in exchange(alone, np.array([1, 2]))] == [[1, 2]]
    alone.close()
