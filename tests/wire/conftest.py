"""A network for tests with the kernel, where the host allows it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from netstack.wire.namespace import Network, open_network, why_not
from tests.helpers.laboratory import Laboratory, laboratory

why_not_once = cache(why_not)


@pytest.fixture
def network() -> Iterator[Network]:
    """A namespace with a TUN device in it. Skips where there cannot be one."""
    reason = why_not_once()
    if reason is not None:
        pytest.skip(reason)
    with open_network() as opened:
        yield opened


@pytest.fixture
def open_laboratory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Laboratory]]:
    """Return a function with the arguments of `laboratory`. All that the endpoint has sent is judged at the end."""
    reason = why_not_once()
    if reason is not None:
        pytest.skip(reason)
    with ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(laboratory(monkeypatch, **arguments))
