"""Messages among processes, here threads: each gets those of all, in order, and strangers get in nothing."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zmq

from experiments.run import mesh
from experiments.run.mesh import Mesh, new_keys

MEMBERS = 3


@pytest.fixture
def members() -> Generator[list[Mesh], None, None]:
    keys = new_keys()
    made = [Mesh(index, keys, "127.0.0.1") for index in range(MEMBERS)]
    for member in made:
        member.connect([other.address for other in made])
    yield made
    for member in made:
        member.close()


def test_everybody_gets_what_all_sent_round_by_round(members: list[Mesh]) -> None:
    def talk(index: int) -> list[list[list[int]]]:
        """Send arrays of growing length; the first round is empty."""
        return [
            [array.tolist() for array in members[index].exchange(np.full(number * (index + 1), 100 * number + index))]
            for number in range(50)
        ]

    with ThreadPoolExecutor(MEMBERS) as pool:
        heard = list(pool.map(talk, range(MEMBERS)))
    expected = [[[100 * number + index] * (number * (index + 1)) for index in range(MEMBERS)] for number in range(50)]
    assert heard == [expected] * MEMBERS


def test_large_messages_arrive_whole(members: list[Mesh]) -> None:
    arrays = [np.random.default_rng(index).integers(-(2**62), 2**62, 300_000) for index in range(MEMBERS)]
    with ThreadPoolExecutor(MEMBERS) as pool:
        heard = list(pool.map(lambda index: members[index].exchange(arrays[index]), range(MEMBERS)))
    assert all(np.array_equal(got, sent) for part in heard for got, sent in zip(part, arrays, strict=True))


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
    socket.connect(members[0].address)
    socket.send(np.arange(4).tobytes())
    monkeypatch.setattr(mesh, "WAIT_SECONDS", 0.5)
    with pytest.raises(TimeoutError, match="no message from another process"):
        members[0].exchange(np.zeros(1, np.int64))
    socket.close()
    context.term()


def test_a_member_alone_waits_for_nobody() -> None:
    alone = Mesh(0, new_keys(), "127.0.0.1")
    alone.connect([alone.address])
    assert [array.tolist() for array in alone.exchange(np.array([1, 2]))] == [[1, 2]]
    alone.close()
