"""A network for tests with the kernel, where the host allows it."""

from collections.abc import Iterator
from functools import cache

import pytest

from netstack.wire.namespace import Network, open_network, why_not

why_not_once = cache(why_not)


@pytest.fixture
def network() -> Iterator[Network]:
    """A namespace with a TUN device in it. Skips where there cannot be one."""
    reason = why_not_once()
    if reason is not None:
        pytest.skip(reason)
    with open_network() as opened:
        yield opened
